"""A process that does not outlive its parent."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

_LOOK_S = 0.5
_EXIT_STATUS = 75
"""Of a process whose parent is gone: EX_TEMPFAIL of sysexits(3)."""

logger = structlog.get_logger(__name__)


def end_with_parent(finish: Callable[[], Coroutine[Any, Any, object]], within_s: float) -> None:
    """Once the parent of this process is gone, run `finish`, and end this process after `within_s` seconds at
    most, even where the event loop hangs. Call within a running event loop.
    """
    loop, parent = asyncio.get_running_loop(), os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_LOOK_S)
        deadline = time.monotonic() + within_s
        logger.critical("parent_gone", parent=parent, ends_within_s=within_s)
        finishing = asyncio.run_coroutine_threadsafe(finish(), loop)
        while not finishing.done() and time.monotonic() < deadline:
            time.sleep(_LOOK_S / 10)
        os._exit(_EXIT_STATUS)

    threading.Thread(target=watch, name="end_with_parent", daemon=True).start()

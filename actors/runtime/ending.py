"""A process that ends by itself once there is a reason, such as the end of its parent."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from doorstep.actors.runtime.last_words import say_last

_LOOK_S = 0.5
_EXIT_STATUS = 75
"""Of a process that had a reason: EX_TEMPFAIL of sysexits(3)."""

Reason = Callable[[], str]
"""Why this process is to end; empty while it is not. Called in a thread of its own."""

logger = structlog.get_logger(__name__)


def orphaned() -> Reason:
    """That the parent which this process has now is gone."""
    parent = os.getppid()
    return lambda: "" if os.getppid() == parent else f"its parent, {parent}, is gone"


def end_for(reason: Reason, finish: Callable[[], Coroutine[Any, Any, object]], within_s: float) -> None:
    """Once there is a reason, run `finish`, and end this process after `within_s` seconds at most, even where
    the event loop hangs; at once where it is stopped. Call within a running event loop.
    """
    loop = asyncio.get_running_loop()

    def watch() -> None:
        while not (why := reason()):
            time.sleep(_LOOK_S)
        deadline = time.monotonic() + within_s
        logger.critical("ends_by_itself", reason=why, within_s=within_s)
        say_last(why)
        finishing = asyncio.run_coroutine_threadsafe(finish(), loop)
        while loop.is_running() and not finishing.done() and time.monotonic() < deadline:
            time.sleep(_LOOK_S / 10)
        os._exit(_EXIT_STATUS)

    threading.Thread(target=watch, name="end_for", daemon=True).start()

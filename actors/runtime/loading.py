"""Ctrl-C while libraries are loaded."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

INTERRUPTED = 130
"""The exit status of whatever Ctrl-C ends before it has begun."""


@contextmanager
def loading() -> Iterator[None]:
    """Within it Ctrl-C ends the process at once. Main thread only, before there is anything to clean up.

    A `KeyboardInterrupt` is lost where it hits a library that swallows what is raised while it is loaded, as
    compiled parts of pydantic do: the command goes on as if nobody had wanted its end.
    """
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

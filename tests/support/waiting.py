"""Waiting in tests that run beside many others, on a machine that stands still for a moment now and then."""

import asyncio
import time
from collections.abc import Callable

PATIENCE_S = 90.0
"""Of whoever waits for what has to come: far more than it ever takes, also where the machine is three times
as slow and other tests run beside this one, so that only what never comes fails."""

_LOOK_AGAIN_S = 0.01
_PARTS = 20


async def until(holds: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    """Wait until a condition holds, of which nobody tells. Raises `AssertionError` if it does not in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s:g} s"
        await asyncio.sleep(_LOOK_AGAIN_S)


async def a_while(seconds: float) -> None:
    """Let the loop do what it has to do, for what nothing can be waited for.

    In parts: a machine that stands still for so long makes one of them short, and the loop has its turns in
    the others. One sleep would be over before anything was read.
    """
    for _ in range(_PARTS):
        await asyncio.sleep(seconds / _PARTS)

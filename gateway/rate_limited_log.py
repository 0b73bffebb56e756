"""A log of what clients can cause as often as they like: a thousand in trouble are no thousand lines."""

import time
from collections.abc import Callable

import structlog

INTERVAL_S = 10.0


class RateLimitedLog:
    """Writes the first warning of its kind at once, then one each ten seconds, with how many it stands for.

    Kinds are events and codes of ours, never a client's bytes: their number is bounded.
    """

    def __init__(self, name: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = structlog.get_logger(name)
        self._clock = clock
        self._written_at: dict[tuple[str, str], float] = {}
        self._unwritten: dict[tuple[str, str], int] = {}

    def complain(self, event: str, code: str, **facts: object) -> None:
        """Something of the kind (`event`, `code`) happened."""
        kind, now = (event, code), self._clock()
        count = self._unwritten.pop(kind, 0) + 1
        if now - self._written_at.get(kind, -INTERVAL_S) < INTERVAL_S:
            self._unwritten[kind] = count
            return
        self._written_at[kind] = now
        self._log.warning(event, code=code, count=count, **facts)

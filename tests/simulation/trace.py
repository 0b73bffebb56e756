"""What happened in a run, in order, for people to read."""

import contextlib
import sys
import traceback
from collections.abc import Callable, Iterator, MutableMapping
from typing import Any, NoReturn

import structlog

from tests.simulation.loop import current


class Trace:
    """Lines with their times; what Doorstep logs is among them."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.lines: list[str] = []
        self.alarms: list[str] = []
        """What must never be logged."""
        self._now = now

    def note(self, who: str, what: str) -> None:
        """One line."""
        self.lines.append(f"{self._now():9.4f}  {who:<14} {what}")

    @contextlib.contextmanager
    def logs(self) -> Iterator[None]:
        """Take all that is logged meanwhile."""
        before = structlog.get_config()
        structlog.configure(processors=[self._take], wrapper_class=structlog.BoundLogger)
        try:
            yield
        finally:
            structlog.configure(**before)

    def _take(self, _logger: Any, level: str, event: MutableMapping[str, Any]) -> NoReturn:
        process = current()
        name = event.pop("event")
        error = event.pop("exc_info", None)
        told = " ".join(f"{key}={value}" for key, value in event.items())
        self.note(process.name if process else "world", f"{name} {told}")
        self.lines += _written(sys.exception() if error is True or level == "exception" else error)
        if level in ("error", "critical", "exception"):
            self.alarms.append(f"logged: {name} {told}")
        raise structlog.DropEvent


def _written(error: BaseException | None) -> Iterator[str]:
    for line in traceback.format_exception(error) if error else ():
        yield from (f"{'':26}{each}" for each in line.splitlines())

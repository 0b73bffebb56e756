"""Structured logs: one JSON object a line (or coloured text for a person).

Every line has `actor`, `level`, `timestamp` and `event`, which is in snake_case. A complaint that repeats is
told a few times in ten seconds; the next line of its kind says how many were left out, as `suppressed`. A
kind is an event and, where it has one, its `code`: names of ours, never a client's bytes.
"""

import io
import logging
import sys
import time
from collections.abc import Callable
from typing import TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from doorstep.config.settings import Settings

_WINDOW_S = 10.0
_TOLD = 5
_KINDS = 1000


class Repeats:
    """Decides which lines of a kind are told: five in ten seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._kinds: dict[str, tuple[float, int]] = {}

    def suppressed(self, kind: str) -> int | None:
        """How many lines of the kind were left out before this one; None: leave this one out, too."""
        now = self._clock()
        began, count = self._kinds.get(kind, (now, 0))
        if now - began >= _WINDOW_S:
            began, count, left_out = now, 0, max(count - _TOLD, 0)
        else:
            left_out = 0
        if len(self._kinds) >= _KINDS:
            self._kinds.clear()
        self._kinds[kind] = began, count + 1
        return left_out if count < _TOLD else None


class Output(io.TextIOBase):
    """A text stream for what libraries print: every line of it becomes a line of the log."""

    def __init__(self, name: str) -> None:
        self._logger = structlog.get_logger(name)
        self._begun = ""

    def writable(self) -> bool:
        """Always."""
        return True

    def write(self, text: str) -> int:
        """Log the lines that are complete now."""
        *lines, self._begun = (self._begun + text).split("\n")
        for line in filter(str.strip, lines):
            self._logger.warning("printed", text=line)
        return len(text)


def configure_logs(settings: Settings, actor: str, out: TextIO | None = None) -> None:
    """Set up the logs of this process, libraries' warnings included; every line has the actor's name.

    They go to `out`, else to standard error.
    """
    out = out or sys.stderr
    repeats = Repeats()
    every_line: list[Processor] = [
        lambda _logger, _method, event: {"actor": actor, **event},
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    as_json = settings.log_format == "json"
    renderer: Processor = structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
    if not as_json:
        every_line.append(_printable)
    structlog.configure(
        processors=[_limited(repeats), *every_line, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(settings.log_level.upper())),
        logger_factory=structlog.WriteLoggerFactory(out),
    )
    handler = logging.StreamHandler(out)
    handler.addFilter(lambda record: repeats.suppressed(f"{record.name}/{record.msg}") is not None)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[_of_a_library, *every_line],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    logging.basicConfig(handlers=[handler], level=logging.WARNING, force=True)
    for name in logging.root.manager.loggerDict:  # Ray and others have set up logs of their own
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
    logging.captureWarnings(True)


def _limited(repeats: Repeats) -> Processor:
    """Leave out what was told a few times just now; not what is said of ordinary events."""

    def limited(_logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
        if method in ("debug", "info"):
            return event
        left_out = repeats.suppressed(f"{event['event']}/{event.get('code', '')}")
        if left_out is None:
            raise structlog.DropEvent
        return {**event, "suppressed": left_out} if left_out else event

    return limited


def _printable(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """What a client sent, its Origin say, moves no cursor and begins no line. A traceback has its lines."""
    return {
        name: _escaped(value, "\n" if name == "exception" else "") if isinstance(value, str) else value
        for name, value in event.items()
    }


def _escaped(text: str, kept: str) -> str:
    """With everything that a terminal would obey as `\\x1b` and the like, except for what is `kept`."""
    return "".join(each if each.isprintable() or each in kept else ascii(each)[1:-1] for each in text)


def _of_a_library(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A library's sentence is no name of an event."""
    record: logging.LogRecord = event["_record"]
    return {**event, "event": "library_warning", "logger": record.name, "text": event["event"]}

"""Traces: what carries a notification's trace on. Where they are off nothing of OpenTelemetry is imported.

The trace is in the notification itself: its `traceparent` names the span that what comes next is below of. So
no step has to know the one before, on whatever machine that was.
"""

from collections.abc import Mapping
from importlib import import_module
from typing import Protocol

from doorstep.config.settings import Settings

Attributes = Mapping[str, str | int]
"""What a span says of its step, by OpenTelemetry's names where there are any."""


class Span(Protocol):
    """A step of a notification that is under way."""

    payload: bytes
    """The notification, with this span as its `traceparent`."""

    def end(self) -> None:
        """The step is done."""


class Tracer(Protocol):
    """Begins the spans of one actor, and sends them off in the background."""

    def begin(
        self,
        name: str,
        payload: bytes,
        attributes: Attributes,
        at_ns: int | None = None,
        *,
        first: bool = False,
    ) -> Span | None:
        """Begin a step, now or at a time in Unix nanoseconds; None where this trace is not sampled.

        `payload` is a notification's JSON object as a log has it. Its `traceparent` says whether it
        is sampled. Without one nobody has decided: the `first` step may begin a trace, as the sampler says.
        """

    async def stop(self) -> None:
        """Send off what is left, within a second."""


def fault_of(settings: Settings) -> str | None:
    """Why traces can't be had, and what to do about it; None where they can, or are off."""
    try:
        if settings.traces:
            import_module("doorstep.actors.runtime.open_telemetry")
    except ModuleNotFoundError as missing:
        return f"DOORSTEP_TRACES needs {missing.name}: pip install 'doorstep[traces]'"
    return None


def tracer_of(settings: Settings, actor: str) -> Tracer | None:
    """The tracer of an actor; None where traces are off. Raises `ModuleNotFoundError` without the extra."""
    if not settings.traces:
        return None
    from doorstep.actors.runtime.open_telemetry import OpenTelemetry  # noqa: PLC0415 - 36 MiB

    return OpenTelemetry(actor)

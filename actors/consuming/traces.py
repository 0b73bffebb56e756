"""The consumer's steps of a trace: `consume`, from a record to a notification, and `append`, to its log."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from doorstep.actors.consuming.decode import Event
from doorstep.actors.records import Record
from doorstep.actors.runtime.tracing import Attributes, Tracer
from doorstep.actors.store.values import Entry


def trace_consumed(tracer: Tracer, events: list[tuple[Record, Event]], start: int, began_ns: int) -> None:
    """The events from place `start` on were decoded since `began_ns`: those of sampled traces say so."""
    for place in range(start, len(events)):
        record, event = events[place]
        span = tracer.begin("consume", event.payload, _of(record, event), began_ns, first=True)
        if span is not None:
            span.end()
            events[place] = record, event._replace(payload=span.payload)


@contextmanager
def appending(tracer: Tracer, entries: Sequence[Entry]) -> Iterator[Sequence[Entry]]:
    """Gives out the entries as they are to be appended, in the steps of their traces that end with this."""
    spans = [tracer.begin("append", payload, _REDIS) for _, _, payload in entries]
    try:
        yield [
            entry if span is None else (entry[0], entry[1], span.payload)
            for entry, span in zip(entries, spans, strict=True)
        ]
    finally:
        for span in spans:
            if span is not None:
                span.end()


_REDIS = {"db.system.name": "redis", "db.operation.name": "append"}


def _of(record: Record, event: Event) -> Attributes:
    return {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.destination.name": record.topic,
        "messaging.destination.partition.id": str(record.partition),
        "messaging.kafka.offset": record.offset,
        "doorstep.event": event.event_name,
    }

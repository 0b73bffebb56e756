"""Sorts the records of a poll by what has to be done with them. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import MappingProxyType

from doorstep.actors.consuming.decode import Event, Registration, Skip, decode
from doorstep.actors.kafka.dead_letters import DeadLetter, Fault, dead_letter
from doorstep.actors.records import Record, TopicIds, topic_id_of
from doorstep.config.routes import RouteTable


@dataclass(frozen=True, slots=True, eq=False)
class Refused:
    """A record that can't be delivered, why, and its dead letter."""

    record: Record
    fault: Fault
    letter: DeadLetter


@dataclass(slots=True)
class Classified:
    """Records by kind; each kind in the order in which they were read."""

    registrations: list[tuple[Record, Registration]] = field(default_factory=list)
    events: list[tuple[Record, Event]] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)

    def refuse(self, record: Record, fault: Fault, now: float) -> None:
        """Add a record that becomes a dead letter."""
        self.refused.append(Refused(record, fault, dead_letter(record, fault, now)))


def classify(
    records: Iterable[Record],
    routes: RouteTable,
    max_record_bytes: int,
    now: float,
    into: Classified | None = None,
    *,
    topic_ids: TopicIds = MappingProxyType({}),
) -> Classified:
    """Decode records and sort them, after those that are `into` already; returns that, or a new one.

    `now`, in Unix seconds, dates the dead letters. For `topic_ids` see `decode`.
    """
    into = into or Classified()
    add_event = into.events.append
    for record in records:
        match decode(record, routes, max_record_bytes, topic_id_of(record, topic_ids)):
            case Event() as event:
                add_event((record, event))
            case Registration() as registration:
                into.registrations.append((record, registration))
            case Fault() as fault:
                into.refuse(record, fault, now)
            case Skip() as skip:
                into.skipped[skip.reason] += 1
    return into

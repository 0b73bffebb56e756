"""What was produced against what each device wrote down, and what the logs hold in the end. Pure.

0 lost, 0 doubled, 0 out of order, 0 to the wrong user, 0 silent gaps. A device that was told to start over
fetches its state: it knows then what was produced before, and what of that comes again is no fault.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from doorstep.benchmarks.ledger import Exactness, Ledger
from tests.simulation.clients import START, Entry, Journal


class Mark(NamedTuple):
    """Which event it is: the `number`th of a stream, which is all of one key of one topic, for one user."""

    user: int
    stream: str
    number: int

    def __str__(self) -> str:
        return f"{self.user}/{self.stream}/{self.number}"

    @classmethod
    def parse(cls, text: str) -> "Mark":
        """Inverse of `str`."""
        user, stream, number = text.split("/")
        return cls(int(user), stream, int(number))


@dataclass(slots=True)
class Produced:
    """All events that Kafka has acknowledged, each with the time of that."""

    at: dict[Mark, float] = field(default_factory=dict)

    def streams_of(self, user: int, until: float) -> Mapping[str, int]:
        """How many of each stream of a user there were by then."""
        counts: defaultdict[str, int] = defaultdict(int)
        for mark, at in self.at.items():
            if mark.user == user:
                counts[mark.stream] += at <= until
        return counts


def complaints_of_device(journal: Journal, produced: Produced, now: float) -> Iterator[str]:
    """What is wrong with what one device got."""
    user = int(journal.user.removeprefix("user-"))
    total = Exactness()
    ledgers = {stream: Ledger(user) for stream in produced.streams_of(user, now)}
    covered: Mapping[str, int] = {}
    stands: int | None = None
    for entry in journal.entries:
        yield from _gap(journal, entry, stands)
        stands = entry.seq
        if entry.is_new_start:
            covered = produced.streams_of(user, entry.at)
            total += _without_missing(ledgers, covered)
        elif entry.mark:
            mark = Mark.parse(entry.mark)
            ledger = ledgers.setdefault(mark.stream, Ledger(user))
            if mark.user != user or mark.number > covered.get(mark.stream, 0):
                ledger.note(mark.user, mark.number)
            if mark.user != user:
                yield f"{journal.device} got {mark}, which is another user's"
    counts = produced.streams_of(user, now)
    for stream, ledger in ledgers.items():
        total += ledger.settle(counts.get(stream, 0))
    if not total.exact:
        yield f"{journal.device}: missing {total.missing}, {total}"


def complaints_of_log(user: int, marks: Iterable[str], produced: Produced, now: float) -> Iterator[str]:
    """What is wrong with a user's log, which holds all events once in the end."""
    total = Exactness()
    ledgers = {stream: Ledger(user) for stream in produced.streams_of(user, now)}
    for mark in map(Mark.parse, marks):
        ledgers.setdefault(mark.stream, Ledger(user)).note(mark.user, mark.number)
    counts = produced.streams_of(user, now)
    for stream, ledger in ledgers.items():
        total += ledger.settle(counts.get(stream, 0))
    if not total.exact:
        yield f"log of user-{user}: missing {total.missing}, {total}"


def resets(journals: Sequence[Journal]) -> Iterator[str]:
    """Devices that were told to start over."""
    for journal in journals:
        for entry in journal.entries:
            if entry.is_new_start and entry.reason != START:
                yield f"{journal.device} was told to start over at {entry.at:.3f}: {entry.reason}"


def _gap(journal: Journal, entry: Entry, stands: int | None) -> Iterator[str]:
    if entry.kind == "notification" and entry.seq != (stands or 0) + 1:
        yield f"{journal.device} stood at {stands} and got {entry.seq} at {entry.at:.3f}"
    if entry.kind == "welcome" and not entry.is_new_start and stands not in (None, entry.seq):
        yield f"{journal.device} stood at {stands} and was resumed at {entry.seq} at {entry.at:.3f}"


def _without_missing(ledgers: Mapping[str, Ledger], covered: Mapping[str, int]) -> Exactness:
    """Judge what came until a new start: what did not come is in the state."""
    total = Exactness()
    for stream, ledger in ledgers.items():
        judged = ledger.settle(covered.get(stream, 0))
        total += Exactness(0, 0, judged.duplicates, judged.disordered, judged.foreign)
    return total

"""Proof of delivery: what went out to sockets, what clients say they have shown, and how long that took.

The time of a notification begins at its own timestamp: when its event was made, by its producer's clock.
Counts are complete; times are samples.
"""

import asyncio
import time
from collections import Counter, deque
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

import prometheus_client

from doorstep.actors.holding.metrics import HolderMetrics
from doorstep.actors.holding.receipt_stream import ReceiptStream
from doorstep.actors.runtime.tracing import Tracer
from doorstep.actors.store.values import Logged, Pushed

OTHER = "other"
"""The label of events that no route names."""
_NAME_AT = len(b'{"event":"')
_TIMESTAMP = b'"timestamp":"'
_TICK_S = 0.05
_SAMPLES_A_TICK = 5
_REMEMBERED = 8192
"""How many notifications can still be told apart by their events when they are acknowledged."""

Sent = tuple[Pushed, int]
"""A notification, and to how many sockets it went."""


class Receipts:
    """The counts of one holder. A push costs next to nothing here: it is put aside, and counted later."""

    def __init__(
        self,
        events: Iterable[str],
        counters: HolderMetrics,
        stream: ReceiptStream,
        tracer: Tracer | None = None,
    ) -> None:
        """`events`: the names that become labels. `stream` gets what was shown."""
        self.aside: list[Sent] = []
        """What went out and is not counted yet; to be appended to by who sends."""
        self.samples_due = _SAMPLES_A_TICK
        """How many messages of the feed are still to be sampled now."""
        self._labels = {event.encode(): event for event in events}
        self._counters = counters
        self._stream = stream
        self._tracer = tracer
        self._shown_due = _SAMPLES_A_TICK
        self._memory = _Memory()

    async def run(self) -> None:
        """Count what was put aside, until cancelled."""
        while True:
            await asyncio.sleep(_TICK_S)
            self.count()
            self.samples_due = self._shown_due = _SAMPLES_A_TICK

    def count(self) -> None:
        """Bring the metrics up to date."""
        if self.aside:
            sent, self.aside = self.aside, []
            self._memory.add(sent)
            self._add(sent, self._counters.delivered)

    def sample(self, payload: bytes) -> None:
        """A notification was written just now."""
        self.samples_due -= 1
        self._observe(self._counters.delivery_seconds, payload)

    def caught_up(self, notifications: Sequence[Logged]) -> None:
        """A page of the log was written to a socket. How late that is says nothing of us: no sample."""
        began_ns, first = time.time_ns(), len(self.aside)
        self.aside += [((each[0].encode(), each[1], b"", b"", each[4]), 1) for each in notifications]
        self.trace(first, began_ns)

    def trace(self, first: int, began_ns: int) -> None:
        """What is aside from place `first` on has gone out: those of sampled traces say so, and who shows
        them goes on from there."""
        if self._tracer is None:
            return
        for place in range(first, len(self.aside)):
            (user, seq, previous, digest, payload), sockets = self.aside[place]
            span = self._tracer.begin("push", payload, {"doorstep.sockets": sockets}, began_ns)
            if span is not None:
                span.end()
                self.aside[place] = (user, seq, previous, digest, span.payload), sockets

    def shown(self, user_id: str, after: int, until: int) -> None:
        """A client has shown what it was sent: from the number `after`, without it, to `until`."""
        self.count()
        sent = self._memory.of(user_id.encode(), after, until)
        self._stream.shown(user_id, after, until, sent)
        self._add([(push, 1) for push in sent], self._counters.shown)
        self._trace_shown(sent)
        self._counters.shown.labels(OTHER).inc(until - after - len(sent))
        if sent and self._shown_due:
            self._shown_due -= 1
            self._observe(self._counters.shown_seconds, sent[0][4])

    def _trace_shown(self, pushes: Iterable[Pushed]) -> None:
        if self._tracer is not None:
            for push in pushes:
                span = self._tracer.begin("shown", push[4], {})
                if span is not None:
                    span.end()

    def _add(self, sent: Sequence[Sent], counter: prometheus_client.Counter) -> None:
        counts: Counter[bytes] = Counter()
        for push, times in sent:
            counts[_name_in(push[4])] += times
        for name, count in counts.items():
            counter.labels(self._labels.get(name, OTHER)).inc(count)

    def _observe(self, histogram: prometheus_client.Histogram, payload: bytes) -> None:
        """How long ago the event was made; a producer's clock may be ahead: that is 0."""
        made_at = made_at_of(payload)
        if made_at is not None:
            label = self._labels.get(_name_in(payload), OTHER)
            histogram.labels(label).observe(max(time.time() - made_at, 0.0))


class _Memory:
    """The last notifications that went out, by user and number. Nothing is sorted before anybody asks."""

    __slots__ = ("_fresh", "_index", "_size")

    def __init__(self) -> None:
        self._fresh: deque[Sequence[Sent]] = deque()
        self._size = 0
        self._index: dict[tuple[bytes, int], Pushed] = {}

    def add(self, sent: Sequence[Sent]) -> None:
        """These went out now."""
        self._fresh.append(sent)
        self._size += len(sent)
        while self._size > _REMEMBERED and len(self._fresh) > 1:
            self._size -= len(self._fresh.popleft())

    def of(self, user_id: bytes, after: int, until: int) -> Sequence[Pushed]:
        """Those that are remembered of these numbers, oldest first."""
        for sent in self._fresh:
            self._index.update({(push[0], push[1]): push for push, _ in sent})
        self._fresh.clear()
        self._size = 0
        while len(self._index) > _REMEMBERED:
            del self._index[next(iter(self._index))]
        first = max(after, until - _REMEMBERED) + 1
        found = [self._index.get((user_id, seq)) for seq in range(first, until + 1)]
        return [push for push in found if push is not None]


def _name_in(payload: bytes) -> bytes:
    """The event of a notification: the first of its fields."""
    return payload[_NAME_AT : payload.find(b'"', _NAME_AT)]


def made_at_of(payload: bytes) -> float | None:
    """When the event of a notification was made, in Unix seconds; None where that can't be read."""
    start = payload.find(_TIMESTAMP) + len(_TIMESTAMP)
    text = payload[start : payload.find(b'"', start)]
    try:
        at = datetime.fromisoformat(text.decode())
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()

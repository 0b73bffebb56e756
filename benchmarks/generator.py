"""The load generator as a whole: one process that produces, several full of clients."""

from array import array
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from functools import reduce
from typing import Self

from doorstep.benchmarks.errors import GeneratorError
from doorstep.benchmarks.latency import Latencies
from doorstep.benchmarks.ledger import Exactness
from doorstep.benchmarks.orders import (
    Begin,
    Collect,
    Connect,
    Crowd,
    Disconnect,
    Expect,
    Findings,
    Go,
    Look,
    Mute,
    Order,
    Plan,
    Populate,
    Produced,
    Sight,
)
from doorstep.benchmarks.target import Target
from doorstep.benchmarks.worker import Worker, ask_all

CLIENTS_PER_SWARM = 15_000
"""A process may have 20,000 files open."""

_ANSWER_S = 120.0


class Generator:
    """Its processes. Every method raises `GeneratorError` when one of them is gone or can't obey."""

    def __init__(self, bootstrap: str, swarms: int) -> None:
        """Start the processes; `with` ends them."""
        self._stack = ExitStack()
        try:
            self._producer = self._stack.enter_context(Worker("producer", bootstrap))
            self._swarms = [self._stack.enter_context(Worker("swarm")) for _ in range(swarms)]
        except BaseException:
            self._stack.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def populate(self, target: Target, crowd: Crowd, connections: int) -> Sight:
        """Make the clients of a scenario, evenly over the swarms; all are offline."""
        count = len(self._swarms)
        edges = [connections * number // count for number in range(count + 1)]
        return self._tell(
            [
                Populate(
                    target.dialect, crowd, edges[number], edges[number + 1], target.address, _source(number)
                )
                for number in range(count)
            ]
        )

    def connect(self, window: int) -> Sight:
        """Start to connect all that are offline, at most about `window` at once."""
        return self._tell_each(Connect(max(1, window // len(self._swarms))))

    def disconnect(self) -> Sight:
        """Close all connections."""
        return self._tell_each(Disconnect())

    def mute(self, share: float) -> Sight:
        """Let a share of the clients read no more, until the next `disconnect`."""
        return self._tell_each(Mute(share))

    def begin(self, start_ns: int) -> Sight:
        """A load starts at `start_ns`."""
        return self._tell_each(Begin(start_ns))

    def look(self) -> Sight:
        """Where the clients are."""
        return self._tell_each(Look())

    def expect(self, totals: "array[int]") -> Sight:
        """Tell the clients how many events each user has had."""
        return self._tell_each(Expect(totals))

    def collect(self) -> Sequence[Findings]:
        """What each swarm found out about the load."""
        answers = ask_all(self._swarms, [Collect()] * len(self._swarms), _ANSWER_S)
        return [answer for answer in answers if isinstance(answer, Findings)]

    def plan(self, plan: Plan) -> Produced:
        """Get the producer ready."""
        return self._ask_producer(plan)

    def go(self, start_ns: int) -> Produced:
        """Let it produce what was planned, from `start_ns` on."""
        return self._ask_producer(Go(start_ns))

    def produced(self) -> Produced:
        """Where the producer is. Raises `GeneratorError` when Kafka refused events."""
        produced = self._ask_producer(Look())
        if produced.failures:
            refused = ", ".join(f"{reason} ({count} times)" for reason, count in produced.failures.items())
            raise GeneratorError(f"Kafka did not take all events: {refused}: no verdict")
        return produced

    def _tell_each(self, order: Order) -> Sight:
        return self._tell([order] * len(self._swarms))

    def _tell(self, orders: Sequence[Order]) -> Sight:
        answers = ask_all(self._swarms, orders, _ANSWER_S)
        return reduce(_add, [answer for answer in answers if isinstance(answer, Sight)])

    def _ask_producer(self, order: Order) -> Produced:
        (answer,) = ask_all([self._producer], [order], _ANSWER_S)
        assert isinstance(answer, Produced)
        return answer


def merge_findings(parts: Sequence[Findings]) -> Findings:
    """All clients as if they were in one process; of the healths the worst."""
    seconds = sorted({second for part in parts for second in part.by_second})
    return Findings(
        exactness=sum((part.exactness for part in parts), Exactness()),
        by_second={
            second: Latencies.merged(part.by_second[second] for part in parts if second in part.by_second)
            for second in seconds
        },
        arrived=sum((Counter(part.arrived) for part in parts), Counter()),
        connecting=Latencies.merged(part.connecting for part in parts),
        bytes_received=sum(part.bytes_received for part in parts),
        last_ns=max(part.last_ns for part in parts),
        muted=sum(part.muted for part in parts),
        muted_closed=sum(part.muted_closed for part in parts),
        resets=sum(part.resets for part in parts),
        health=max((part.health for part in parts), key=lambda health: health.busiest),
    )


def _add(one: Sight, other: Sight) -> Sight:
    return Sight(
        one.clients + other.clients,
        one.live + other.live,
        one.opening + other.opening,
        Counter(one.failures) + Counter(other.failures),
        one.received + other.received,
        one.expected + other.expected,
        max(one.last_ns, other.last_ns),
    )


def _source(number: int) -> str:
    """An address of this machine for each swarm: one address has ports for about 28,000 connections."""
    return f"127.0.0.{number + 2}"

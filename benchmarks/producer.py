"""The process that produces: it keeps to the schedule, whatever Kafka and the server do."""

import sys
import time
from array import array
from collections import Counter
from functools import partial
from multiprocessing.connection import Connection
from random import getrandbits

from confluent_kafka import KafkaError, Message
from confluent_kafka import Producer as KafkaProducer

from doorstep.benchmarks.health import HealthMeter
from doorstep.benchmarks.latency import Latencies
from doorstep.benchmarks.obey import obey, open_pipe
from doorstep.benchmarks.orders import Go, Look, Order, Plan, Produced, Report
from doorstep.benchmarks.records import Event
from doorstep.benchmarks.schedule import TICK_NS, Schedule, make_schedule

_LINGER_MS = 1
_IDLE_S = 0.02
_QUEUED_MESSAGES = 2_000_000
_AT_ONCE = 1000
"""Of a load that is due at once, so many are produced before the pipe is looked at again."""


class Producer:
    """Produces one planned load at a time."""

    def __init__(self, bootstrap: str) -> None:
        """Connects in the background; the broker may still be starting."""
        self._failures: Counter[str] = Counter()
        self._kafka = KafkaProducer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": _LINGER_MS,
                "queue.buffering.max.messages": _QUEUED_MESSAGES,
                "queue.buffering.max.kbytes": 1 << 21,
                "delivery.report.only.error": True,
                "on_delivery": self._on_failure,
                "log_level": 3,  # errors; what a broker does while it starts is not worth a line
            }
        )
        self._health = HealthMeter()
        self._prefix = ""
        self._totals = array("L")
        self._plan: Plan | None = None
        self._schedule = Schedule(array("q"), array("L"))
        self._sent = 0
        self._start_ns: int | None = None
        self._report: Report | None = None
        self._lags = array("q")

    def work(self) -> float:
        """Produce what is due; how many seconds nothing more will be."""
        if self._start_ns is None or self._plan is None:
            return _IDLE_S
        offsets, planned = self._schedule.offsets_ns, len(self._schedule.offsets_ns)
        now = time.monotonic_ns()
        self._health.look(now)
        end = self._sent
        while end < planned and end - self._sent < _AT_ONCE and self._start_ns + offsets[end] <= now:
            end += 1
        self._produce(self._plan, self._start_ns, self._sent, end)
        if end == planned:
            self._finish()
            return _IDLE_S
        return max(0.0, (self._start_ns + offsets[end] - time.monotonic_ns()) / 1e9)

    def _produce(self, plan: Plan, start_ns: int, first: int, end: int) -> None:
        offsets, users, totals = self._schedule.offsets_ns, self._schedule.users, self._totals
        topic, record, user_id = plan.records.topic, plan.records.record, plan.crowd.user_id
        produce, run = self._kafka.produce, self._run
        for number in range(first, end):
            user, due = users[number], start_ns + offsets[number]
            totals[user] += 1
            event_id = b"%b-%012x" % (run, number)
            key, value, headers = record(Event(user_id(user), user, totals[user], due), event_id)
            produce(topic, value, key, headers=list(headers))
            self._lags.append(time.monotonic_ns() - due)
        self._sent = end
        self._kafka.poll(0)

    def _finish(self) -> None:
        """All is handed over: wait a moment for the broker to have it."""
        if self._report is None and self._kafka.flush(_IDLE_S) == 0:
            health = self._health.report()  # before the work of the next line
            self._report = Report(Latencies.of_ns(self._lags), health, self._totals)

    def obey(self, order: Order) -> Produced:
        """Do it; the answer."""
        match order:
            case Plan():
                self._prepare(order)
            case Go(start_ns):
                self._start_ns = start_ns
                self._health.begin()
            case Look():
                pass
            case _:
                raise TypeError(f"a producer can't {order!r}")
        return self._produced()

    def _prepare(self, plan: Plan) -> None:
        if plan.crowd.prefix != self._prefix:
            self._prefix, self._totals = plan.crowd.prefix, array("L", bytes(8 * plan.crowd.users))
        self._plan = plan
        self._schedule = make_schedule(plan.arrivals)
        self._sent, self._start_ns, self._report = 0, None, None
        self._failures.clear()
        del self._lags[:]
        self._run = b"%08x-0000-4000-8000" % getrandbits(32)  # so that no two loads share an event id
        self._kafka.list_topics(plan.records.topic, timeout=30)

    def _produced(self) -> Produced:
        return Produced(len(self._schedule.offsets_ns), self._sent, dict(self._failures), self._report)

    def _on_failure(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failures[error.str()] += 1


def main(pipe: Connection, bootstrap: str) -> None:
    """Be the producer until the pipe ends."""
    producer = Producer(bootstrap)
    take_order = partial(obey, pipe, producer.obey)
    while True:
        if pipe.poll(0):
            take_order()
        pause = producer.work()
        if pause > TICK_NS / 1e9:
            pipe.poll(min(pause, _IDLE_S))
        elif pause > 0:
            time.sleep(pause)


if __name__ == "__main__":
    main(open_pipe(int(sys.argv[1])), sys.argv[2])

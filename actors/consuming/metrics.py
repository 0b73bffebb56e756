"""What a consumer counts, for Prometheus. No label ever has a value per user."""

from collections import Counter as Tally
from collections import defaultdict
from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from doorstep.actors.records import Partition
from doorstep.actors.runtime.redis_metrics import redis_round_trips

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ConsumerMetrics:
    """What a consumer counts."""

    def __init__(self) -> None:
        self.dead_letters: Tally[str] = Tally()
        """By reason, those of this consumer since its start."""
        self._registry = CollectorRegistry()
        self._counted: defaultdict[tuple[str, str], int] = defaultdict(int)
        """Since the metrics were asked for: a Counter takes locks for each step."""
        self._records = Counter(
            "doorstep_consumer_records",
            "Records that were done with, by what became of them and why.",
            ["outcome", "reason"],
            registry=self._registry,
        )
        self._lag = Gauge(
            "doorstep_consumer_lag_records",
            "Records of the assigned partitions that are not done with, up to the last stable offset.",
            ["topic", "partition"],
            registry=self._registry,
        )
        self._unstable = Gauge(
            "doorstep_consumer_unstable_records",
            "Records of the assigned partitions after the last stable offset: a transaction is open.",
            ["topic", "partition"],
            registry=self._registry,
        )
        self._breakers = Gauge(
            "doorstep_consumer_breaker_open",
            "1 while a server is out of reach.",
            ["breaker"],
            registry=self._registry,
        )
        self.append_seconds = Histogram(
            "doorstep_consumer_append_seconds",
            "Time from the first try of a micro-batch's append to its success.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.redis_seconds = redis_round_trips(self._registry)
        self.oldest_parked = Gauge(
            "doorstep_parked_oldest_age_seconds",
            "How long the oldest of all parked events has waited for its context; 0 while there is none.",
            registry=self._registry,
        )
        self.partitions = Gauge(
            "doorstep_consumer_partitions", "Partitions assigned.", registry=self._registry
        )
        self.unowned = Gauge(
            "doorstep_consumer_unowned_partitions",
            "Partitions that no member of the consumer group has, for longer than a rebalance takes.",
            registry=self._registry,
        )
        self.in_flight = Gauge(
            "doorstep_consumer_in_flight_records",
            "Offsets read and not committed.",
            registry=self._registry,
        )
        self.restarts = Counter(
            "doorstep_consumer_restarts",
            "Times it went back to its checkpoints, because Redis had lost writes, the process was frozen or "
            "partitions were nobody's.",
            ["cause"],
            registry=self._registry,
        )
        self.log_repairs = Counter(
            "doorstep_consumer_log_repairs",
            "Users and batches whose keys in Redis were not as Doorstep writes them, and were put right.",
            registry=self._registry,
        )

    def count(self, outcome: str, reasons: Mapping[str, int]) -> None:
        """Records that ended as `outcome`, how many for each reason."""
        if outcome == "dead_lettered":
            self.dead_letters.update(reasons)
        for reason, amount in reasons.items():
            self._counted[outcome, reason] += amount

    def set_lag(self, lag: Mapping[Partition, int], unstable: Mapping[Partition, int]) -> None:
        """How far behind the ends of its partitions it is, and how much is held back after them."""
        for gauge, records in (self._lag, lag), (self._unstable, unstable):
            gauge.clear()
            for (topic, number), amount in records.items():
                gauge.labels(topic, number).set(amount)

    def set_breaker(self, name: str, *, is_open: bool) -> None:
        """A breaker has opened or closed."""
        self._breakers.labels(name).set(is_open)

    def collect(self) -> list[Metric]:
        """All of it."""
        counted, self._counted = self._counted, defaultdict(int)
        for labels, amount in counted.items():
            if amount:
                self._records.labels(*labels).inc(amount)
        return list(self._registry.collect())

"""What a target costs: CPU by component, also of processes that have ended meanwhile, and memory."""

from collections import Counter, defaultdict
from collections.abc import Mapping

from doorstep.benchmarks.kafka import Kafka
from doorstep.benchmarks.labels import KAFKA, REDIS
from doorstep.benchmarks.redis_server import RedisReading, RedisServer
from doorstep.benchmarks.target import Target


class CostMeter:
    """Of one target and the servers it uses. Look often enough to see short-lived processes."""

    def __init__(self, target: Target, redis: RedisServer, kafka: Kafka) -> None:
        """Looks for the first time."""
        self._target = target
        self._redis = redis
        self._kafka = kafka
        self._last: dict[int, tuple[str, float]] = {}
        """Pid -> its component and what it has used, also of those that have ended."""

    def cpu_s(self) -> Mapping[str, float]:
        """CPU that each component has used so far. Kafka's is there when the broker is our own."""
        for reading in self._target.family.readings():
            self._last[reading.pid] = self._target.component_of(reading.command), reading.cpu_s
        if self._kafka.family is not None:
            for reading in self._kafka.family.readings():
                self._last[reading.pid] = KAFKA, reading.cpu_s
        used: defaultdict[str, float] = defaultdict(float, {REDIS: self._redis.read().cpu_s})
        for component, seconds in self._last.values():
            used[component] += seconds
        return used

    def redis(self) -> RedisReading:
        """What Redis has used so far."""
        return self._redis.read()

    def memory_bytes(self) -> Mapping[str, int]:
        """Proportional set size of each component now; Redis' by its own account."""
        sizes = self._target.family.memory_bytes()
        used: Counter[str] = Counter({REDIS: self._redis.read().memory_bytes})
        for reading in self._target.family.readings():
            used[self._target.component_of(reading.command)] += sizes.get(reading.pid, 0)
        return used


def difference(later: Mapping[str, float], earlier: Mapping[str, float]) -> Mapping[str, float]:
    """What was used between two readings, by component."""
    return {name: value - earlier.get(name, 0.0) for name, value in later.items()}

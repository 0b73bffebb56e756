"""What was measured: frozen, and written to JSON as it is."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, ConfigDict

from doorstep.benchmarks.labels import KAFKA
from doorstep.benchmarks.ledger import Exactness
from doorstep.benchmarks.scenario import Scenario, Suite


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, ser_json_inf_nan="null")


class GeneratorHealth(_Result):
    """Whether what was measured is the server, or the generator itself."""

    swarm_busiest: float
    """Share of a core that the busiest process of clients used in its busiest second."""
    producer_busiest: float
    producer_lag_p99_ms: float
    """How late events were handed to the Kafka client. Latencies count from when events were due, so they
    contain it."""
    swarm_us: float
    """CPU of the clients per notification, in microseconds."""
    producer_us: float
    """CPU of the producer per event, in microseconds."""
    wait_ms: float
    """How long a process of clients waited for a core each time it had something to do, on average."""
    bottleneck: str | None
    """Which process had no CPU left; None: all had."""


class LatencyResult(_Result):
    """From when events were due until clients had them, in milliseconds."""

    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    p999_ms: float | None
    max_ms: float | None
    curve: Sequence[tuple[float, float]]
    """Percent and milliseconds, for a plot."""


class SecondResult(_Result):
    """One second of a load."""

    second: int
    arrived: int
    p50_ms: float | None
    p99_ms: float | None


class LoadResult(_Result):
    """One load on one target."""

    name: str
    kind: str
    produced: int
    offered_per_s: float
    exactness: Exactness
    latency: LatencyResult
    seconds: Sequence[SecondResult]
    elapsed_s: float
    """From the start until the last notification was there. Of a backlog: since the server began to read; of
    what was missed: since the clients began to come back."""
    cpu_s: Mapping[str, float]
    """By component, until the last notification was there; `kafka` is no component of the target."""
    network_bytes: int
    """What clients received."""
    redis_bytes_in: int
    redis_bytes_out: int
    redis_memory_bytes: int
    """By how much Redis grew."""
    muted: int
    muted_closed: int
    resets: int
    dropped: Mapping[str, int]
    """Connections that the server closed, by its reason."""
    generator: GeneratorHealth

    @property
    def rate_per_s(self) -> float:
        """Notifications per second until the last one."""
        return self.exactness.delivered / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def cpu_us(self) -> float:
        """CPU of the target, Redis included, per notification, in microseconds."""
        return 1e6 * served_cpu_s(self.cpu_s) / max(1, self.exactness.delivered)


class ConnectResult(_Result):
    """How connecting all clients of a scenario went."""

    wanted: int
    live: int
    failures: Mapping[str, int]
    elapsed_s: float
    """From the first connect to the last live client."""
    p50_ms: float | None
    p99_ms: float | None
    cpu_s: Mapping[str, float]
    memory_bytes: Mapping[str, int]
    """By how much each component grew."""
    network_bytes: int
    """What clients received until they were live."""
    swarm_us: float
    """CPU of the clients per connection."""
    bottleneck: str | None = None
    """Why it may be the clients that were measured."""

    @property
    def cpu_us(self) -> float:
        """CPU of the target, Redis included, per connection, in microseconds."""
        return 1e6 * served_cpu_s(self.cpu_s) / max(1, self.live)

    @property
    def connection_kb(self) -> float:
        """Memory of the target's processes per connection, in KB (1024 bytes), Redis' not included."""
        grown = sum(size for name, size in self.memory_bytes.items() if name != "redis")
        return grown / 1024 / max(1, self.live)


class IdleResult(_Result):
    """What it costs that connections are there and nothing happens."""

    seconds: float
    cpu_s: Mapping[str, float]

    @property
    def percent(self) -> float:
        """Share of a core that the target uses, Redis included."""
        return 100 * served_cpu_s(self.cpu_s) / self.seconds


class Run(_Result):
    """One scenario on one target, once."""

    target: str
    scenario: str
    round: int
    connect: ConnectResult
    idle: IdleResult | None
    loads: Sequence[LoadResult]


class Environment(_Result):
    """Where and with what it was measured."""

    cores: int
    cpu: str
    memory_gb: float
    kernel: str
    python: str
    commit: str
    versions: Mapping[str, str]
    socket_write_us: float
    """CPU of writing one frame to a socket here, whose reader waits for it."""


class Outcome(_Result):
    """Whether one claim holds."""

    scenario: str
    load: str | None
    claim: str
    measured: float | None
    limit: float | None
    unit: str
    holds: bool | None
    """None: it could not be judged, `note` says why."""
    required: bool
    note: str = ""


class Report(_Result):
    """A whole run of the suite."""

    suite: Suite
    started: str
    environment: Environment
    scenarios: Sequence[Scenario]
    runs: Sequence[Run]
    outcomes: Sequence[Outcome]


def served_cpu_s(cpu_s: Mapping[str, float]) -> float:
    """CPU of a target and its Redis: all but Kafka's."""
    return sum(seconds for component, seconds in cpu_s.items() if component != KAFKA)

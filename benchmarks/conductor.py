"""Runs one scenario on one target that is up, and measures."""

import signal
import time
import uuid
from array import array
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from doorstep.benchmarks.costs import CostMeter, difference
from doorstep.benchmarks.errors import GeneratorError
from doorstep.benchmarks.generator import Generator, merge_findings
from doorstep.benchmarks.health import Health
from doorstep.benchmarks.kafka import Kafka
from doorstep.benchmarks.latency import Latencies
from doorstep.benchmarks.orders import Crowd, Findings, Plan, Report, Sight
from doorstep.benchmarks.results import (
    ConnectResult,
    GeneratorHealth,
    IdleResult,
    LatencyResult,
    LoadResult,
    Run,
    SecondResult,
)
from doorstep.benchmarks.scenario import Load, Scenario
from doorstep.benchmarks.screen import Screen, Step
from doorstep.benchmarks.target import SECRET, Target
from doorstep.development.processes import ServerError

_LOOK_S = 0.05
_COST_LOOK_S = 1.0
_UNREAD_LOOK_S = 0.25
_LEAD_NS = 100_000_000
_QUIET_S = 5.0
"""When so long nothing more has come, what is missing will not come."""
_LATE_REPEAT_S = 0.3
"""So long we wait for what should not come."""
_CONNECT_S = 120.0
_PRODUCE_S = 120.0
_SETTLE_S = 1.0
_READ_UP_S = 60.0
_SATURATED_P99_MS = 500.0
_BUSY = 0.9
_CURVE_PERCENTS = (0.0, 10.0, 25.0, 50.0, 75.0, 90.0, 95.0, 99.0, 99.5, 99.9, 99.99, 100.0)


@dataclass(frozen=True, slots=True)
class _Begun:
    """What the meters said when something began."""

    start_ns: int
    cpu_s: Mapping[str, float]


class Conductor:
    """Of a target that is up. Every method raises `GeneratorError` or `ServerError` when a process that
    it depends on is gone."""

    def __init__(
        self, target: Target, kafka: Kafka, meter: CostMeter, generator: Generator, screen: Screen
    ) -> None:
        self._target = target
        self._kafka = kafka
        self._meter = meter
        self._generator = generator
        self._screen = screen
        self._looked_at_costs = 0.0

    def run(self, scenario: Scenario, number: int) -> Run:
        """Run it once, as round `number`, with users that nobody has had before."""
        prefix = f"{scenario.name}-{uuid.uuid4().hex[:8]}"
        crowd = Crowd(prefix, scenario.users, scenario.devices, SECRET)
        self._generator.populate(self._target, crowd, scenario.connections)
        connect = self._connect(scenario)
        idle = self._idle(scenario.idle_s) if scenario.idle_s else None
        loads: list[LoadResult] = []
        for load in scenario.load:
            loads.append(self._load(scenario, crowd, load, seed=number * 100 + len(loads)))
            if scenario.stop_when_saturated and _is_saturated(loads[-1]):
                break
        self._generator.disconnect()
        return Run(
            target=self._target.name,
            scenario=scenario.name,
            round=number,
            connect=connect,
            idle=idle,
            loads=loads,
        )

    # --- connecting and being there

    def _connect(self, scenario: Scenario) -> ConnectResult:
        memory = self._meter.memory_bytes()
        begun = self._begin(time.monotonic_ns())
        sight = self._bring_online(scenario)
        cpu_s = difference(self._meter.cpu_s(), begun.cpu_s)
        parts = self._generator.collect()
        findings, swarm_cpu_s = merge_findings(parts), sum(part.health.cpu_s for part in parts)
        time.sleep(min(_SETTLE_S, scenario.idle_s))
        p50, p99 = findings.connecting.percentiles_ms([50, 99])
        return ConnectResult(
            wanted=sight.clients,
            live=sight.live,
            failures=sight.failures,
            elapsed_s=(sight.last_ns - begun.start_ns) / 1e9,
            p50_ms=p50,
            p99_ms=p99,
            cpu_s=cpu_s,
            memory_bytes={
                name: size - memory.get(name, 0) for name, size in self._meter.memory_bytes().items()
            },
            network_bytes=findings.bytes_received,
            swarm_us=1e6 * swarm_cpu_s / max(1, sight.live),
            bottleneck=_busy_clients(findings.health),
        )

    def _bring_online(self, scenario: Scenario) -> Sight:
        description = f"{self._label(scenario.name)}: {scenario.connections:,} connections"
        with self._screen.step(description) as step:
            self._generator.connect(scenario.connect_window)
            return self._wait(lambda sight: sight.opening == 0, _CONNECT_S, step, lambda sight: sight.live)

    def _idle(self, seconds: float) -> IdleResult:
        begun = self._begin(time.monotonic_ns())
        with self._screen.step(f"{self._label('idle')}: {seconds:g} s") as step:
            end = time.monotonic() + seconds
            while (left := end - time.monotonic()) > 0:
                self._check()
                step(seconds - left, seconds)
                time.sleep(min(left, _LOOK_S))
        elapsed_s = (time.monotonic_ns() - begun.start_ns) / 1e9
        return IdleResult(seconds=elapsed_s, cpu_s=difference(self._meter.cpu_s(), begun.cpu_s))

    # --- a load

    def _load(self, scenario: Scenario, crowd: Crowd, load: Load, seed: int) -> LoadResult:
        arrivals = load.arrivals(scenario.users, seed)
        records = self._target.make_records(scenario.payload_bytes)
        self._generator.plan(Plan(records, crowd, arrivals))
        redis = self._meter.redis()
        failures = self._generator.look().failures
        with self._screen.step(f"{self._label(scenario.name)}: {load.name}") as step:
            begun, report = self._way_of(load)(scenario, load, step)
            self._await_delivery(report.totals, step)
        cpu_s = difference(self._meter.cpu_s(), begun.cpu_s)
        spent = self._meter.redis() - redis
        parts = self._generator.collect()
        sight = self._generator.look()
        found = merge_findings(parts)
        return LoadResult(
            name=load.name,
            kind=load.kind,
            produced=arrivals.count,
            offered_per_s=load.rate,
            exactness=found.exactness,
            latency=_latency_result(found),
            seconds=_second_results(found),
            elapsed_s=(found.last_ns - begun.start_ns) / 1e9,
            cpu_s=cpu_s,
            network_bytes=found.bytes_received,
            redis_bytes_in=spent.bytes_in,
            redis_bytes_out=spent.bytes_out,
            redis_memory_bytes=spent.memory_bytes,
            muted=found.muted,
            muted_closed=found.muted_closed,
            resets=found.resets,
            dropped={reason: count - failures.get(reason, 0) for reason, count in sight.failures.items()},
            generator=_generator_health(
                load, arrivals.count, found, sum(p.health.cpu_s for p in parts), report
            ),
        )

    def _way_of(self, load: Load) -> Callable[[Scenario, Load, Step], tuple[_Begun, Report]]:
        return {"steady": self._steady, "backlog": self._backlog, "missed": self._missed}[load.kind]

    def _steady(self, _scenario: Scenario, load: Load, step: Step) -> tuple[_Begun, Report]:
        if load.mute:
            self._generator.mute(load.mute)
        begun = self._begin(time.monotonic_ns() + _LEAD_NS)
        return begun, self._produce(begun.start_ns, step)

    def _backlog(self, _scenario: Scenario, _load: Load, step: Step) -> tuple[_Begun, Report]:
        """The server is stopped as it is, so that it finds all events there at once when it goes on."""
        self._target.family.signal(signal.SIGSTOP)
        try:
            report = self._produce(time.monotonic_ns(), step)
            begun = self._begin(time.monotonic_ns())
        finally:
            self._target.family.signal(signal.SIGCONT)
        return begun, report

    def _missed(self, scenario: Scenario, load: Load, step: Step) -> tuple[_Begun, Report]:
        self._generator.disconnect()
        report = self._produce(time.monotonic_ns() + _LEAD_NS, step)
        deadline = time.monotonic() + _READ_UP_S
        while unread := self._kafka.unread(self._target.make_records(1).topic, self._target.group):
            self._check()
            if time.monotonic() > deadline:
                raise ServerError(f"{self._target.name} left {unread} events unread for {_READ_UP_S:g} s")
            time.sleep(_UNREAD_LOOK_S)
        begun = self._begin(time.monotonic_ns())
        self._generator.connect(scenario.connect_window)
        self._wait(lambda sight: sight.opening == 0, _CONNECT_S, step, lambda sight: sight.live)
        return begun, report

    def _produce(self, start_ns: int, step: Step) -> Report:
        self._generator.go(start_ns)
        moved = (time.monotonic(), -1)
        while (produced := self._generator.produced()).report is None:
            self._check()
            step(produced.sent, produced.planned)
            if produced.sent != moved[1]:
                moved = (time.monotonic(), produced.sent)
            if time.monotonic() - moved[0] > _PRODUCE_S:
                stands = f"{produced.sent} of {produced.planned} events"
                raise GeneratorError(f"the producer stands at {stands}: does Kafka take them?")
            time.sleep(_LOOK_S)
        return produced.report

    def _await_delivery(self, totals: "array[int]", step: Step) -> None:
        """Until every client has what it should, or nothing more comes; and a moment longer, for what should
        not come."""
        self._generator.expect(totals)
        received, moved = -1, time.monotonic()
        while True:
            self._check()
            sight = self._generator.look()
            step(sight.received, sight.expected)
            if sight.received >= sight.expected:
                break
            if sight.received != received:
                received, moved = sight.received, time.monotonic()
            if time.monotonic() - moved > _QUIET_S:
                break
            time.sleep(_LOOK_S)
        time.sleep(_LATE_REPEAT_S)

    # --- common

    def _begin(self, start_ns: int) -> _Begun:
        self._generator.begin(start_ns)
        return _Begun(start_ns, self._meter.cpu_s())

    def _wait(
        self, done: Callable[[Sight], bool], timeout_s: float, step: Step, count: Callable[[Sight], int]
    ) -> Sight:
        deadline = time.monotonic() + timeout_s
        while not done(sight := self._generator.look()):
            self._check()
            step(count(sight), sight.clients)
            if time.monotonic() > deadline:
                break
            time.sleep(_LOOK_S)
        return sight

    def _check(self) -> None:
        """Is everybody still there? And who costs what, once a second: short-lived processes count too."""
        self._target.family.process.check()
        if self._kafka.family is not None:
            self._kafka.family.process.check()
        if time.monotonic() - self._looked_at_costs > _COST_LOOK_S:
            self._looked_at_costs = time.monotonic()
            self._meter.cpu_s()

    def _label(self, what: str) -> str:
        return f"{self._target.name}  {what}"


def _latency_result(found: Findings) -> LatencyResult:
    merged = Latencies.merged(found.by_second.values())
    if not merged.count:
        return LatencyResult(p50_ms=None, p90_ms=None, p99_ms=None, p999_ms=None, max_ms=None, curve=[])
    p50, p90, p99, p999, highest = merged.percentiles_ms([50, 90, 99, 99.9, 100])
    curve = zip(_CURVE_PERCENTS, merged.percentiles_ms(_CURVE_PERCENTS), strict=True)
    return LatencyResult(
        p50_ms=p50,
        p90_ms=p90,
        p99_ms=p99,
        p999_ms=p999,
        max_ms=highest,
        curve=list(curve),
    )


def _second_results(found: Findings) -> list[SecondResult]:
    seconds = sorted({*found.by_second, *found.arrived})
    results = []
    for second in seconds:
        p50, p99 = (None, None)
        if second in found.by_second:
            p50, p99 = found.by_second[second].percentiles_ms([50, 99])
        results.append(
            SecondResult(second=second, arrived=found.arrived.get(second, 0), p50_ms=p50, p99_ms=p99)
        )
    return results


def _generator_health(
    load: Load, produced: int, found: Findings, swarm_cpu_s: float, report: Report
) -> GeneratorHealth:
    (lag_ms,) = report.lag.percentiles_ms([99])
    return GeneratorHealth(
        swarm_busiest=found.health.busiest,
        producer_busiest=report.health.busiest,
        producer_lag_p99_ms=lag_ms,
        swarm_us=1e6 * swarm_cpu_s / max(1, found.exactness.delivered),
        producer_us=1e6 * report.health.cpu_s / max(1, produced),
        wait_ms=found.health.wait_ms,
        bottleneck=_bottleneck(load, found.health, report.health),
    )


def _bottleneck(load: Load, swarm: Health, producer: Health) -> str | None:
    if busy := _busy_clients(swarm):
        return busy
    if load.kind == "steady" and producer.busiest >= _BUSY:  # how long a backlog takes to produce counts not
        return f"the producer used {producer.busiest:.0%} of a core"
    return None


def _busy_clients(swarm: Health) -> str | None:
    return f"a process of clients used {swarm.busiest:.0%} of a core" if swarm.busiest >= _BUSY else None


def _is_saturated(result: LoadResult) -> bool:
    p99 = result.latency.p99_ms
    return p99 is None or p99 > _SATURATED_P99_MS or result.generator.bottleneck is not None

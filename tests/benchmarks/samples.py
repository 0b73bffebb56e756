"""Results of runs that never were, for tests of what is made of results."""

from typing import Any

from doorstep.benchmarks.ledger import Exactness
from doorstep.benchmarks.results import (
    ConnectResult,
    Environment,
    GeneratorHealth,
    LatencyResult,
    LoadResult,
    Report,
    Run,
    SecondResult,
)
from doorstep.benchmarks.scenario import Load, Scenario, Suite
from doorstep.benchmarks.verdict import judge


def a_load(
    name: str = "load", *, lag_ms: float = 1.0, bottleneck: str | None = None, **changes: Any
) -> LoadResult:
    """1,000 events, all delivered within 12 ms at p99, 100 µs each."""
    p99_ms = changes.pop("p99_ms", 12.0)
    cpu_us = changes.pop("cpu_us", 100.0)
    exactness = changes.pop("exactness", Exactness(1000, 1000))
    values: dict[str, Any] = {
        "name": name,
        "kind": "steady",
        "produced": 1000,
        "offered_per_s": 500.0,
        "exactness": exactness,
        "latency": LatencyResult(
            p50_ms=p99_ms / 3,
            p90_ms=p99_ms / 2,
            p99_ms=p99_ms,
            p999_ms=p99_ms,
            max_ms=p99_ms,
            curve=[(0.0, 1.0), (50.0, p99_ms / 3), (99.0, p99_ms), (100.0, p99_ms)],
        ),
        "seconds": [SecondResult(second=second, arrived=500, p50_ms=4, p99_ms=p99_ms) for second in (0, 1)],
        "elapsed_s": 2.0,
        "cpu_s": {
            "holder": cpu_us * exactness.delivered / 2e6,
            "redis": cpu_us * exactness.delivered / 2e6,
            "kafka": 9.0,
        },
        "network_bytes": 500_000,
        "redis_bytes_in": 600_000,
        "redis_bytes_out": 700_000,
        "redis_memory_bytes": 300_000,
        "muted": 0,
        "muted_closed": 0,
        "resets": 0,
        "dropped": {},
        "generator": GeneratorHealth(
            swarm_busiest=0.2,
            producer_busiest=0.1,
            producer_lag_p99_ms=lag_ms,
            swarm_us=12.0,
            producer_us=30.0,
            wait_ms=0.1,
            bottleneck=bottleneck,
        ),
    }
    return LoadResult.model_validate(values | changes)


def a_run(
    *loads: LoadResult,
    target: str = "doorstep",
    number: int = 0,
    live: int = 100,
    connect_s: float = 1.0,
    bottleneck: str | None = None,
) -> Run:
    """Of the scenario `sample`; 100 clients that took 6 KB each."""
    connect = ConnectResult(
        wanted=100,
        live=live,
        failures={} if live == 100 else {"HTTP/1.1 503": 100 - live},
        elapsed_s=connect_s,
        p50_ms=2.0,
        p99_ms=9.0,
        cpu_s={"gateway": 0.02},
        memory_bytes={"holder": 6 * 1024 * live, "redis": 5_000_000},
        network_bytes=30_000,
        swarm_us=60.0,
        bottleneck=bottleneck,
    )
    return Run(target=target, scenario="sample", round=number, connect=connect, idle=None, loads=loads)


def a_scenario(
    *must: str, goal: tuple[str, ...] = (), of_connecting: tuple[str, ...] = (), **changes: Any
) -> Scenario:
    """With one load, of which `must` has to hold."""
    load = Load(name="load", rate=500, duration_s=2, must=must, goal=goal)
    return Scenario(name="sample", about="", users=100, load=(load,), must=of_connecting, **changes)


def a_report(*runs: Run, scenario: Scenario | None = None) -> Report:
    """Judged."""
    scenarios = [scenario or a_scenario()]
    return Report(
        suite=Suite.BENCH,
        started="2026-11-02T08:30:00+00:00",
        environment=Environment(
            cores=2,
            cpu="a CPU & <more>",
            memory_gb=24,
            kernel="Linux 6",
            python="3.11",
            commit="abc",
            versions={"redis": "Valkey 9.1"},
            socket_write_us=8.0,
        ),
        scenarios=scenarios,
        runs=runs,
        outcomes=judge(scenarios, runs),
    )

"""The figures of a report with their spread: what tables show, and what two runs are compared by."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from doorstep.benchmarks.results import LoadResult, Run
from doorstep.benchmarks.verdict import LOAD_METRICS, RUN_METRICS

HIGHER_IS_BETTER = frozenset({"rate_per_s", "closed_share", "delivered_percent"})

_BYTES = ("network_bytes", "redis_bytes", "redis_memory_bytes")
_STEADY = ("delivered_percent", "p50_ms", "p99_ms", "cpu_us", *_BYTES)
_AT_ONCE = ("delivered_percent", "rate_per_s", "cpu_us", *_BYTES)
_MISSED = ("delivered_percent", "elapsed_s", "rate_per_s", "cpu_us")
_METRICS_OF_KIND = {"steady": _STEADY, "backlog": _AT_ONCE, "missed": _MISSED}


@dataclass(frozen=True, slots=True, order=True)
class Key:
    """Which figure."""

    target: str
    scenario: str
    load: str
    """Empty: of the scenario as a whole."""
    metric: str

    def __str__(self) -> str:
        return " / ".join(part for part in (self.target, self.scenario, self.load, self.metric) if part)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure over all rounds."""

    values: Sequence[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def spread(self) -> float:
        """How far the rounds are apart: highest minus lowest."""
        return max(self.values) - min(self.values)


def figures_of(runs: Sequence[Run]) -> Mapping[Key, Figure]:
    """Every figure that is worth comparing."""
    values: defaultdict[Key, list[float]] = defaultdict(list)
    for run in runs:
        for key, value in _of_run(run):
            if value is not None:
                values[key].append(value)
    return {key: Figure(tuple(found)) for key, found in values.items()}


def unit_of(metric: str) -> str:
    """What a metric is counted in."""
    return (LOAD_METRICS.get(metric) or RUN_METRICS[metric])[0]


def _of_run(run: Run) -> Iterator[tuple[Key, float | None]]:
    for metric, (_unit, read) in RUN_METRICS.items():
        yield Key(run.target, run.scenario, "", metric), read(run)
    for load in run.loads:
        for metric in metrics_of(load):
            yield Key(run.target, run.scenario, load.name, metric), LOAD_METRICS[metric][1](load)


def metrics_of(load: LoadResult) -> Sequence[str]:
    """What is worth knowing of a load: of events that were due long ago, the latency says nothing."""
    return (*_METRICS_OF_KIND[load.kind], *(("closed_share",) if load.muted else ()))

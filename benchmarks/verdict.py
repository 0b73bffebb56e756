"""From what was measured to what holds. Pure: the same runs always give the same verdict.

What every load has to keep, on our own target: all delivered, once, in order, to the right user, every client
connected, and the 99th percentile below 500 ms, in each round. What scenarios ask for beyond comes on top.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import IntEnum
from statistics import median

from doorstep.benchmarks.labels import NAIVE, OURS, PEER
from doorstep.benchmarks.results import LoadResult, Outcome, Run
from doorstep.benchmarks.scenario import Claim, Load, Scenario

_PROMISE = Claim.parse("p99_ms <= 500")

_LAG_MS = 10.0
_ENOUGH_PERCENT = 99
_LATENCIES = frozenset({"p50_ms", "p99_ms"})
_TARGETS = {"ours": OURS, "peer": PEER, "naive": NAIVE}


def _delivered_percent(result: LoadResult) -> float:
    expected = result.exactness.expected
    return 100 * result.exactness.delivered / expected if expected else 100.0


LOAD_METRICS: Mapping[str, tuple[str, Callable[[LoadResult], float | None]]] = {
    "p50_ms": ("ms", lambda result: result.latency.p50_ms),
    "p99_ms": ("ms", lambda result: result.latency.p99_ms),
    "cpu_us": ("µs", lambda result: result.cpu_us),
    "rate_per_s": ("/s", lambda result: result.rate_per_s),
    "elapsed_s": ("s", lambda result: result.elapsed_s),
    "delivered_percent": ("%", _delivered_percent),
    "closed_share": ("", lambda result: result.muted_closed / max(1, result.muted)),
    "network_bytes": ("B", lambda result: _each(result.network_bytes, result)),
    "redis_bytes": ("B", lambda result: _each(result.redis_bytes_in + result.redis_bytes_out, result)),
    "redis_memory_bytes": ("B", lambda result: _each(result.redis_memory_bytes, result)),
}
"""What a claim of a load may be about: its unit, and how it is read."""

RUN_METRICS: Mapping[str, tuple[str, Callable[[Run], float | None]]] = {
    "connect_s": ("s", lambda run: run.connect.elapsed_s),
    "connect_us": ("µs", lambda run: run.connect.cpu_us),
    "connection_kb": ("KB", lambda run: run.connect.connection_kb),
    "connection_bytes": ("B", lambda run: run.connect.network_bytes / max(1, run.connect.live)),
    "idle_percent": ("% of a core", lambda run: run.idle.percent if run.idle else None),
}
"""What a claim of a scenario may be about."""


def _each(total: int, result: LoadResult) -> float:
    return total / max(1, result.exactness.delivered)


class Verdict(IntEnum):
    """Also the exit code of `doorstep bench run`."""

    PASSED = 0
    MISSED = 1
    """A target was missed."""
    NONE = 3
    """Something had to be judged and could not be: the generator was the bottleneck, or nothing was run."""


def judge(scenarios: Sequence[Scenario], runs: Sequence[Run], *, timing: bool = True) -> Sequence[Outcome]:
    """Every promise and every claim, in the order of the scenarios. Without `timing` the promise of 500 ms is
    but a goal."""
    return [outcome for scenario in scenarios for outcome in _judge_scenario(scenario, runs, timing=timing)]


def verdict_of(outcomes: Sequence[Outcome]) -> Verdict:
    """What they come to. A missed target counts more than one that could not be judged."""
    required = [outcome for outcome in outcomes if outcome.required]
    if any(outcome.holds is False for outcome in required):
        return Verdict.MISSED
    judged = bool(required) and all(outcome.holds is not None for outcome in required)
    return Verdict.PASSED if judged else Verdict.NONE


def _judge_scenario(scenario: Scenario, runs: Sequence[Run], *, timing: bool) -> Iterator[Outcome]:
    own = [run for run in runs if run.scenario == scenario.name and run.target == OURS]
    if not own:
        return
    yield _all_connected(scenario, own)
    for required, texts in ((True, scenario.must), (False, scenario.goal)):
        for text in texts:
            yield _judge_claim(scenario, None, Claim.parse(text), runs, required=required)
    for load in scenario.load:
        yield from _judge_load(scenario, load, runs, timing=timing)


def _judge_load(scenario: Scenario, load: Load, runs: Sequence[Run], *, timing: bool) -> Iterator[Outcome]:
    results = _results(runs, OURS, scenario.name, load.name)
    if not results:
        return  # left out, behind a saturated one
    yield _all_exact(scenario, load, results)
    if load.kind == "steady" and not scenario.stop_when_saturated:
        yield _judge_claim(scenario, load, _PROMISE, runs, required=timing)
    for required, texts in ((True, load.must), (False, load.goal)):
        for claim in map(Claim.parse, texts):
            if not _is_reference(claim, scenario, load):
                yield _judge_claim(scenario, load, claim, runs, required=required)


def _is_reference(claim: Claim, scenario: Scenario, load: Load) -> bool:
    """Whether others of a matrix are compared with this load; with itself it isn't."""
    compared = claim.target, claim.scenario, claim.load or load.name
    return compared == ("ours", scenario.name, load.name)


def _all_connected(scenario: Scenario, own: Sequence[Run]) -> Outcome:
    wanted, live = (sum(getattr(run.connect, name) for run in own) for name in ("wanted", "live"))
    failures = {reason for run in own for reason in run.connect.failures}
    return Outcome(
        scenario=scenario.name,
        load=None,
        claim="every client is connected",
        measured=live,
        limit=wanted,
        unit="clients",
        holds=live == wanted,
        required=True,
        note="; ".join(sorted(failures)),
    )


def _all_exact(scenario: Scenario, load: Load, results: Sequence[LoadResult]) -> Outcome:
    total = results[0].exactness
    for result in results[1:]:
        total += result.exactness
    wrong = {
        "missing": total.missing,
        "twice": total.duplicates,
        "out of order": total.disordered,
        "to the wrong user": total.foreign,
    }
    return Outcome(
        scenario=scenario.name,
        load=load.name,
        claim="all delivered, once, in order, to the right user",
        measured=100 * total.delivered / max(1, total.expected),
        limit=100,
        unit="%",
        holds=total.exact and total.expected > 0,
        required=True,
        note=", ".join(f"{count:,} {what}" for what, count in wrong.items() if count)
        or ("" if total.expected else "nothing was to be delivered"),
    )


def _judge_claim(
    scenario: Scenario, load: Load | None, claim: Claim, runs: Sequence[Run], *, required: bool
) -> Outcome:
    load_name = load.name if load else None
    unit = (LOAD_METRICS if load else RUN_METRICS)[claim.metric][0]
    measured = _measure(
        runs,
        OURS,
        scenario.name,
        load_name,
        claim.metric,
        combine=max if claim is _PROMISE else median,
    )
    limit = _limit(runs, scenario.name, load_name, claim)
    note, holds = "", None
    if measured is None or limit is None:
        # Without the peer nothing can be said about it: that is no miss, and no reason for no verdict.
        required = required and claim.target != "peer"
        note = f"there is no {claim.target or 'measurement'} to compare with"
    else:
        holds = measured <= limit if claim.relation == "<=" else measured >= limit
        note = _doubt(scenario.name, load_name, claim, runs, measured - limit)
        holds = None if note else holds
    return Outcome(
        scenario=scenario.name,
        load=load_name,
        claim=claim.text,
        measured=measured,
        limit=limit,
        unit=unit,
        holds=holds,
        required=required,
        note=note,
    )


def _limit(runs: Sequence[Run], scenario: str, load: str | None, claim: Claim) -> float | None:
    if claim.target is None:
        return claim.factor
    reference = _measure(
        runs, _TARGETS[claim.target], claim.scenario or scenario, claim.load or load, claim.metric
    )
    return None if reference is None else claim.factor * reference


def _measure(
    runs: Sequence[Run],
    target: str,
    scenario: str,
    load: str | None,
    metric: str,
    *,
    combine: Callable[[Sequence[float]], float] = median,
) -> float | None:
    """Over all rounds."""
    if load is None:
        read_run = RUN_METRICS[metric][1]
        values = [read_run(run) for run in _runs(runs, target, scenario)]
    else:
        read_load = LOAD_METRICS[metric][1]
        values = [read_load(result) for result in _results(runs, target, scenario, load)]
    known = [value for value in values if value is not None]
    return combine(known) if known else None


def _runs(runs: Sequence[Run], target: str, scenario: str) -> Sequence[Run]:
    return [run for run in runs if run.target == target and run.scenario == scenario]


def _results(runs: Sequence[Run], target: str, scenario: str, load: str) -> Sequence[LoadResult]:
    return [result for run in _runs(runs, target, scenario) for result in run.loads if result.name == load]


def _doubt(scenario: str, load: str | None, claim: Claim, runs: Sequence[Run], excess: float) -> str:
    """Why the measurement, of either side, may not be what the claim is about; empty: it is."""
    sides = [(OURS, scenario, load)]
    if claim.target is not None:
        sides.append((_TARGETS[claim.target], claim.scenario or scenario, claim.load or load))
    return next(filter(None, (_doubt_of(*side, claim=claim, runs=runs, excess=excess) for side in sides)), "")


def _doubt_of(
    target: str, scenario: str, load: str | None, *, claim: Claim, runs: Sequence[Run], excess: float
) -> str:
    results = _results(runs, target, scenario, load) if load else ()
    bottlenecks = [result.generator.bottleneck for result in results]
    if load is None:
        bottlenecks = [run.connect.bottleneck for run in _runs(runs, target, scenario)]
    busy = [bottleneck for bottleneck in bottlenecks if bottleneck]
    if 2 * len(busy) > len(bottlenecks):
        return f"no verdict: {busy[0]}"
    if not results:
        return ""
    delivered = min(_delivered_percent(result) for result in results)
    if target != OURS and delivered < _ENOUGH_PERCENT:
        return f"no verdict: {target} delivered {delivered:.4g} %, which is no yardstick"
    lag_ms = median(result.generator.producer_lag_p99_ms for result in results)
    if results[0].kind != "steady" or lag_ms <= _LAG_MS:
        return ""
    is_latency = claim.metric in _LATENCIES and claim.target is None
    if is_latency and (excess <= 0 or excess > lag_ms):
        return ""  # latencies contain the lag: it holds in spite of it, or would be missed without it too
    return f"no verdict: 1 % of the events were produced more than {lag_ms:.0f} ms late"

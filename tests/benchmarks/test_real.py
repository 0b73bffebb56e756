"""The suite against Doorstep itself, as a guard of what a notification costs."""

from doorstep.benchmarks.scenario import SHIPPED, Suite, read_scenarios
from doorstep.benchmarks.verdict import Verdict, verdict_of
from tests.benchmarks.conftest import RunSuite
from tests.support.plugin import FigureRecorder


def test_a_notification_costs_no_more_than_its_share_of_the_naive_way(
    run_shipped: RunSuite, record_figure: FigureRecorder
) -> None:
    report = run_shipped(Suite.GUARD, naive=True)

    (guard,) = read_scenarios(next(SHIPPED.glob("*-guard.toml")))
    (claim,) = guard.load[0].must
    (outcome,) = (outcome for outcome in report.outcomes if outcome.claim == claim)
    record_figure(
        "CPU per notification", f"{outcome.measured:.0f} µs, allowed {outcome.limit:.0f} µs ({claim})"
    )
    assert verdict_of(report.outcomes) is Verdict.PASSED, report.outcomes

"""The suite against Doorstep itself, small: does each scenario work?"""

from doorstep.benchmarks.scenario import Suite
from doorstep.benchmarks.suite import plan_sessions
from doorstep.benchmarks.verdict import Verdict, verdict_of
from tests.benchmarks.conftest import RunSuite


def test_every_scenario_passes_in_small(run_shipped: RunSuite) -> None:
    report = run_shipped(Suite.SMOKE)

    assert verdict_of(report.outcomes) is Verdict.PASSED, report.outcomes
    (session,) = plan_sessions(report.scenarios, Suite.SMOKE, ["ours"])
    assert [run.scenario for run in report.runs] == [scenario.name for scenario in session.scenarios]

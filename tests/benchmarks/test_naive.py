"""The naive way is a fair baseline only if it delivers."""

from tests.benchmarks.conftest import RunSuite

SCENARIO = """
targets = ["naive"]
users = 20
[[load]]
name = "load"
rate = 200
duration_s = 1
"""


def test_it_delivers_while_everybody_is_there(run_scenarios: RunSuite) -> None:
    report = run_scenarios({"naive": SCENARIO}, naive=True, ours=False)

    (run,) = report.runs
    assert run.target == "naive"
    assert run.loads[0].exactness.exact
    assert run.loads[0].exactness.expected == 200
    assert run.loads[0].cpu_s["naive"] > 0
    assert run.loads[0].cpu_s["redis"] > 0

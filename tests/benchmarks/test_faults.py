"""The suite detects what it is there to detect: a real server, over real Kafka, breaks the contract."""

from collections.abc import Mapping

import pytest

from doorstep.benchmarks.results import Outcome, Report
from doorstep.benchmarks.verdict import Verdict, verdict_of
from tests.benchmarks.conftest import RunSuite

LOAD = """
users = 100
[[load]]
name = "load"
rate = 1000
duration_s = 1.5
"""
FAULTS = ("drop", "duplicate", "swap", "late", "late-sometimes", "wrong-user")


@pytest.fixture(scope="module")
def _reports() -> dict[str, Report]:
    return {}


@pytest.fixture
def report(_reports: dict[str, Report], run_scenarios: RunSuite) -> Report:
    """One run for all tests: the server breaks the contract in another way for each scenario's users."""
    if not _reports:
        _reports["all"] = run_scenarios(dict.fromkeys(("faithful", *FAULTS), LOAD))
    return _reports["all"]


def _outcomes(report: Report, scenario: str) -> Mapping[str, Outcome]:
    return {outcome.claim: outcome for outcome in report.outcomes if outcome.scenario == scenario}


def _exact(report: Report, scenario: str) -> Outcome:
    return _outcomes(report, scenario)["all delivered, once, in order, to the right user"]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_server_that_breaks_the_contract_fails(report: Report, fault: str) -> None:
    assert verdict_of(list(_outcomes(report, fault).values())) is Verdict.MISSED


def test_one_that_keeps_it_passes(report: Report) -> None:
    outcomes = _outcomes(report, "faithful")

    assert all(outcome.holds for outcome in outcomes.values()), outcomes
    assert _exact(report, "faithful").measured == 100


@pytest.mark.parametrize(
    ("fault", "note"),
    [
        ("drop", "2 missing"),
        ("duplicate", "2 twice"),
        ("swap", "1 out of order"),
        ("wrong-user", "2 to the wrong user"),
    ],
)
def test_the_verdict_says_what_was_wrong(report: Report, fault: str, note: str) -> None:
    assert _exact(report, fault).note == note


@pytest.mark.parametrize("fault", ["late", "late-sometimes"])
def test_lateness_alone_is_a_matter_of_the_latency(report: Report, fault: str) -> None:
    assert _exact(report, fault).holds
    late = _outcomes(report, fault)["p99_ms <= 500"]
    assert late.measured is not None
    assert late.measured >= 600

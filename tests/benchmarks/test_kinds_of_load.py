"""Backlogs, resumes and mute clients, on a server that keeps the contract."""

from doorstep.benchmarks.ledger import Exactness
from doorstep.benchmarks.results import LoadResult
from tests.benchmarks.conftest import RunSuite
from tests.benchmarks.contract_server import PING_S


def _result(run_scenarios: RunSuite, load: str, users: int = 20) -> LoadResult:
    report = run_scenarios({"kinds": f'users = {users}\n[[load]]\nname = "load"\n{load}'})
    return report.runs[0].loads[0]


def test_what_comes_after_the_last_notification_is_not_waited_for(run_scenarios: RunSuite) -> None:
    report = run_scenarios({"pinging": 'users = 20\n[[load]]\nname = "load"\nrate = 200\nduration_s = 1'})
    (result,) = report.runs[0].loads

    assert result.exactness == Exactness(200, 200)
    assert result.elapsed_s < 1 + PING_S


def test_a_backlog_is_there_before_the_server_goes_on(run_scenarios: RunSuite) -> None:
    result = _result(run_scenarios, 'kind = "backlog"\nevents = 2000')

    assert result.exactness == Exactness(2000, 2000)
    assert result.rate_per_s > 200
    assert result.cpu_us > 0


def test_who_was_away_gets_what_was_missed(run_scenarios: RunSuite) -> None:
    result = _result(run_scenarios, 'kind = "missed"\nevents = 400')

    assert result.exactness == Exactness(400, 400)
    assert result.resets == 0


def test_the_mute_are_left_out_of_the_account(run_scenarios: RunSuite) -> None:
    result = _result(run_scenarios, "rate = 200\nduration_s = 1\nmute = 0.1")

    assert (result.muted, result.muted_closed) == (2, 0)
    assert result.exactness == Exactness(180, 180)

from collections.abc import Sequence

import pytest

from doorstep.benchmarks.ledger import Exactness
from doorstep.benchmarks.results import LoadResult, Outcome, Run
from doorstep.benchmarks.verdict import Verdict, judge, verdict_of
from tests.benchmarks.samples import a_load, a_run, a_scenario

pytestmark = pytest.mark.patient


def _verdict(*must: str, runs: Sequence[Run]) -> Verdict:
    return verdict_of(judge([a_scenario(*must)], runs))


def _outcome(claim: str, runs: Sequence[Run], *, goal: bool = False) -> Outcome:
    scenario = a_scenario(goal=(claim,)) if goal else a_scenario(claim)
    return next(outcome for outcome in judge([scenario], runs) if outcome.claim == claim)


def test_what_keeps_every_promise_passes() -> None:
    assert _verdict(runs=[a_run(a_load())]) is Verdict.PASSED


@pytest.mark.parametrize(
    "broken",
    [
        a_load(exactness=Exactness(1000, 999)),
        a_load(exactness=Exactness(1000, 1000, duplicates=1)),
        a_load(exactness=Exactness(1000, 1000, disordered=1)),
        a_load(exactness=Exactness(1000, 1000, foreign=1)),
        a_load(exactness=Exactness(0, 0)),
        a_load(p99_ms=501.0),
    ],
)
def test_one_broken_promise_in_one_round_is_a_miss(broken: LoadResult) -> None:
    assert _verdict(runs=[a_run(broken)]) is Verdict.MISSED


def test_a_loss_in_one_round_of_three_is_a_miss() -> None:
    lossy = a_load(exactness=Exactness(1000, 999))

    assert _verdict(runs=[a_run(load) for load in (a_load(), lossy, a_load())]) is Verdict.MISSED


def test_a_client_that_could_not_connect_is_a_miss() -> None:
    outcomes = judge([a_scenario()], [a_run(a_load(), live=99)])

    assert verdict_of(outcomes) is Verdict.MISSED
    assert outcomes[0].note == "HTTP/1.1 503"


def test_the_median_of_the_rounds_is_judged() -> None:
    rounds = [a_run(a_load(p99_ms=p99)) for p99 in (10.0, 80.0, 20.0)]

    assert _outcome("p99_ms <= 20", rounds).measured == 20.0
    assert _outcome("p99_ms <= 20", rounds).holds
    assert not _outcome("p99_ms <= 19", rounds).holds


def test_claims_about_the_peer_are_judged_by_its_figures() -> None:
    runs = [a_run(a_load(cpu_us=100.0)), a_run(a_load(cpu_us=200.0), target="centrifugo")]

    assert _outcome("cpu_us <= 0.5 * peer", runs).holds
    assert _outcome("cpu_us <= 0.4 * peer", runs).holds is False
    assert _outcome("cpu_us <= 0.4 * peer", runs).limit == pytest.approx(80)


def test_the_cpu_of_kafka_is_nobodys_and_that_of_redis_counts() -> None:
    assert _outcome("cpu_us <= 1", [a_run(a_load(cpu_us=100.0))]).measured == pytest.approx(100)


def test_without_a_peer_what_is_said_about_it_is_left_open() -> None:
    outcome = _outcome("cpu_us <= 0.5 * peer", [a_run(a_load())])

    assert outcome.holds is None
    assert not outcome.required
    assert _verdict("cpu_us <= 0.5 * peer", runs=[a_run(a_load())]) is Verdict.PASSED


def test_a_missed_goal_is_no_missed_target() -> None:
    outcome = _outcome("p99_ms <= 1", [a_run(a_load())], goal=True)

    assert outcome.holds is False
    assert verdict_of([outcome, *judge([a_scenario()], [a_run(a_load())])]) is Verdict.PASSED


def test_a_generator_without_cpu_left_gives_no_verdict() -> None:
    runs = [a_run(a_load(bottleneck="a process of clients used 97% of a core"))]

    outcome = _outcome("p99_ms <= 30", runs)

    assert outcome.holds is None
    assert "97% of a core" in outcome.note
    assert _verdict(runs=runs) is Verdict.NONE


def test_a_peer_measured_by_a_generator_without_cpu_left_is_no_yardstick() -> None:
    runs = [a_run(a_load()), a_run(a_load(bottleneck="busy"), target="centrifugo")]

    assert _outcome("p99_ms <= 2 * peer", runs).holds is None
    assert _outcome("cpu_us <= 2 * peer", [*runs, a_run(a_load())]).holds is None


@pytest.mark.parametrize("busy", ["doorstep", "centrifugo"])
def test_clients_without_cpu_left_give_no_verdict_about_connecting(busy: str) -> None:
    scenario = a_scenario(of_connecting=("connect_s <= 1.5 * peer",))
    other = "centrifugo" if busy == "doorstep" else "doorstep"
    runs = [a_run(a_load(), target=busy, bottleneck="95% of a core"), a_run(a_load(), target=other)]

    (outcome,) = [each for each in judge([scenario], runs) if each.claim.startswith("connect_s")]

    assert outcome.holds is None
    assert "95% of a core" in outcome.note


def test_a_peer_that_loses_much_is_no_yardstick() -> None:
    runs = [a_run(a_load()), a_run(a_load(exactness=Exactness(1000, 980)), target="centrifugo")]

    assert _outcome("cpu_us <= 2 * peer", runs).holds is None


def test_the_promise_is_kept_in_each_round() -> None:
    runs = [a_run(a_load()), a_run(a_load(p99_ms=800.0)), a_run(a_load())]

    assert _verdict(runs=runs) is Verdict.MISSED


def test_loss_counts_also_where_the_generator_was_busy() -> None:
    busy = a_load(bottleneck="busy", exactness=Exactness(1000, 999))

    assert _verdict(runs=[a_run(busy)]) is Verdict.MISSED


@pytest.mark.parametrize(
    ("claim", "holds"),
    [
        ("p99_ms <= 100", True),  # the latency contains the lag, and is low enough all the same
        ("p99_ms <= 70", None),  # without the lag it might have been
        ("p99_ms <= 50", False),  # also without the lag it would not
        ("cpu_us <= 1000", None),  # late events come in heaps, and heaps are cheap
    ],
)
def test_a_producer_that_is_late_makes_doubtful_what_it_can_have_changed(
    claim: str, holds: bool | None
) -> None:
    runs = [a_run(a_load(p99_ms=80.0, lag_ms=20.0))]

    assert _outcome(claim, runs).holds is holds


def test_without_timing_latency_is_a_goal() -> None:
    runs = [a_run(a_load(p99_ms=900.0))]

    assert verdict_of(judge([a_scenario()], runs)) is Verdict.MISSED
    assert verdict_of(judge([a_scenario()], runs, timing=False)) is Verdict.PASSED


def test_claims_about_connecting_are_judged() -> None:
    scenario = a_scenario(of_connecting=("connection_kb <= 6", "connect_s <= 0.9 * peer"))
    runs = [a_run(a_load(), connect_s=1.0), a_run(a_load(), connect_s=1.0, target="centrifugo")]

    holds = {outcome.claim: outcome.holds for outcome in judge([scenario], runs)}

    assert holds["connection_kb <= 6"] is True
    assert holds["connect_s <= 0.9 * peer"] is False


def test_nothing_run_is_no_verdict() -> None:
    assert _verdict(runs=[]) is Verdict.NONE
    assert _verdict(runs=[a_run(a_load(), target="centrifugo")]) is Verdict.NONE


def test_steps_behind_the_saturated_one_are_not_judged() -> None:
    assert judge([a_scenario()], [a_run()]) == judge([a_scenario()], [a_run()])
    assert [outcome.load for outcome in judge([a_scenario()], [a_run()])] == [None]


@pytest.mark.parametrize(
    ("claim", "judged"),
    [
        ("cpu_us <= 1.2 * ours@sample", False),
        ("cpu_us <= 1.2 * ours@sample/load", False),
        ("cpu_us <= 1.2 * peer@sample", True),
        ("cpu_us <= 1.2 * ours@sample/another", True),
    ],
)
def test_what_others_are_compared_with_is_not_compared_with_itself(claim: str, judged: bool) -> None:
    claims = {outcome.claim for outcome in judge([a_scenario(claim)], [a_run(a_load())])}
    assert (claim in claims) is judged

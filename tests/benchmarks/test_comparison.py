import pytest

from doorstep.benchmarks.comparison import Change, compare
from doorstep.benchmarks.results import Report
from doorstep.benchmarks.summary import Figure, Key
from tests.benchmarks.samples import a_load, a_report, a_run


def _report(*p99s: float, kind: str = "steady", elapsed_s: float = 2.0) -> Report:
    return a_report(*(a_run(a_load(p99_ms=p99, kind=kind, elapsed_s=elapsed_s)) for p99 in p99s))


def _worse(before: Report, after: Report) -> set[str]:
    return {change.key.metric for change in compare(before, after) if change.is_worse}


def test_what_got_worse_is_named() -> None:
    assert _worse(_report(10.0, 11.0), _report(15.0, 16.0)) == {"p50_ms", "p99_ms"}


def test_noise_is_no_change() -> None:
    assert _worse(_report(10.0, 20.0, 12.0), _report(15.0, 21.0, 16.0)) == set()
    assert _worse(_report(10.0), _report(10.9)) == set()


def test_better_is_not_worse() -> None:
    changes = compare(_report(15.0), _report(10.0))

    assert {change.key.metric for change in changes if change.is_better} == {"p50_ms", "p99_ms"}
    assert not any(change.is_worse for change in changes)


def test_a_lower_rate_is_worse() -> None:
    assert "rate_per_s" in _worse(_report(10.0, kind="backlog"), _report(10.0, kind="backlog", elapsed_s=3.0))


def test_only_what_is_in_both_is_compared_and_only_ours() -> None:
    before = a_report(a_run(a_load()), a_run(a_load(p99_ms=1.0), target="centrifugo"))
    after = a_report(a_run(a_load(), a_load("new")), a_run(a_load(p99_ms=9.0), target="centrifugo"))

    keys = {change.key for change in compare(before, after)}

    assert {key.target for key in keys} == {"doorstep"}
    assert {key.load for key in keys} == {"", "load"}


def test_the_worst_comes_first() -> None:
    ratios = [change.ratio for change in compare(_report(10.0), _report(30.0))]

    assert ratios == sorted(ratios, reverse=True)
    assert ratios[0] == pytest.approx(3)


def test_a_change_knows_its_direction() -> None:
    figure = Figure((10.0,))
    key = Key("doorstep", "sample", "load", "rate_per_s")

    assert Change(key, figure, Figure((5.0,))).ratio == pytest.approx(2)
    assert str(key) == "doorstep / sample / load / rate_per_s"

"""How many cells are asked for: within the limits, more with more load, and never to and fro."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.placement.autoscale import Asked, Limits, Load, decide, needed

pytestmark = pytest.mark.patient

LIMITS = st.builds(
    Limits,
    min_cells=st.integers(1, 4),
    max_cells=st.integers(4, 9),
    connections_per_cell=st.integers(1, 9000),
    cores_per_cell=st.floats(0.1, 2),
    lag_per_cell=st.integers(1, 9000),
    calm_s=st.floats(1, 1000),
)
LOADS = st.builds(Load, st.integers(0, 90_000), st.floats(0, 20), st.integers(0, 90_000))
ASKED = st.builds(Asked, st.integers(1, 9), st.just(0.0))
TIMES = st.floats(0, 5000)


@given(LIMITS, ASKED, LOADS, TIMES)
def test_what_is_asked_for_is_enough_and_within_the_limits(
    limits: Limits, asked: Asked, load: Load, now: float
) -> None:
    after = decide(asked, load, now, limits)
    assert after.cells <= limits.max_cells
    assert after.cells >= min(asked.cells - 1, limits.max_cells)
    assert after.cells >= needed(load, limits) >= limits.min_cells


@given(LIMITS, ASKED, LOADS, LOADS, TIMES)
def test_more_load_never_asks_for_fewer(
    limits: Limits, asked: Asked, one: Load, other: Load, now: float
) -> None:
    both = Load(max(one.connections, other.connections), max(one.cores, other.cores), max(one.lag, other.lag))
    assert needed(both, limits) == max(needed(one, limits), needed(other, limits))
    assert decide(asked, both, now, limits).cells >= decide(asked, one, now, limits).cells


@given(LIMITS, st.lists(LOADS, min_size=1, max_size=30), st.floats(1, 200))
def test_one_fewer_at_a_time_and_only_after_a_calm(
    limits: Limits, loads: Sequence[Load], step_s: float
) -> None:
    asked, changed_at = Asked(limits.min_cells, 0.0), 0.0
    for number, load in enumerate(loads, 1):
        now = number * step_s
        after = decide(asked, load, now, limits)
        if after.cells < asked.cells:
            assert after.cells == asked.cells - 1
            assert now - changed_at >= limits.calm_s
        if after.cells != asked.cells:
            changed_at = now
        asked = after


@given(LIMITS, ASKED, LOADS, st.lists(st.floats(0.85, 1), min_size=1, max_size=30))
def test_a_load_that_wavers_by_a_seventh_changes_nothing(
    limits: Limits, asked: Asked, load: Load, wavers: Sequence[float]
) -> None:
    asked = decide(asked, load, 0.0, limits)
    if needed(load, limits) < asked.cells:
        return  # it is on its way down
    for number, part in enumerate(wavers, 1):
        wavering = Load(round(load.connections * part), load.cores * part, round(load.lag * part))
        asked, before = decide(asked, wavering, number * 10_000.0, limits), asked
        assert asked.cells == before.cells


@given(LIMITS, ASKED, LOADS)
def test_a_load_that_stays_comes_to_rest(limits: Limits, asked: Asked, load: Load) -> None:
    for number in range(12):
        asked = decide(asked, load, number * limits.calm_s, limits)
    assert decide(asked, load, 13 * limits.calm_s, limits).cells == asked.cells
    assert needed(load, limits) <= asked.cells <= needed(load, limits, 0.8)

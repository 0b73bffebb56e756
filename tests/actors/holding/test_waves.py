"""Those who are sent off go in waves."""

import pytest

from doorstep.actors.holding.waves import spread, waves

pytestmark = pytest.mark.patient


@pytest.mark.parametrize(
    ("count", "within_s", "sizes"),
    [
        (0, 5, []),
        (1, 5, [1]),
        (250, 5, [100, 100, 50]),
        (1000, 0.5, [200] * 5),
        (30_000, 5, [600] * 50),
        (7, 0, [7]),
    ],
)
def test_everybody_goes_in_time(count: int, within_s: float, sizes: list[int]) -> None:
    groups = list(waves(range(count), within_s))
    assert [len(group) for group in groups] == sizes
    assert [each for group in groups for each in group] == list(range(count))


@pytest.mark.parametrize(
    ("count", "over_s", "sizes", "pause_s"),
    [
        (0, 60, [0], 60),
        (4, 60, [1] * 4, 15),
        (7, 0.3, [2, 2, 3], 0.1),
        (6000, 120, [5] * 1200, 0.1),
        (9, 0, [9], 0.1),
    ],
)
def test_a_drain_takes_the_time_that_it_has(
    count: int, over_s: float, sizes: list[int], pause_s: float
) -> None:
    groups, pause = spread(range(count), over_s)
    assert [len(group) for group in groups] == sizes
    assert [each for group in groups for each in group] == list(range(count))
    assert pause == pytest.approx(pause_s)

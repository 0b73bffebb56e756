"""Those who are sent off go in waves."""

import pytest

from doorstep.actors.holding.waves import waves


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

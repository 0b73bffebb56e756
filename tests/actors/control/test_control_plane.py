"""How long an actor lives without Ray. That `/status` names it is in tests/e2e/test_given_ray.py."""

import pytest

from doorstep.actors.control.control_plane import LOST_S, is_well_without


@pytest.mark.parametrize(
    ("address", "unseen_s", "is_well"),
    [(None, LOST_S - 1, True), (None, LOST_S, False), ("10.0.0.1:6379", LOST_S, True), ("auto", 1e6, True)],
)
def test_who_lost_a_ray_of_its_own_is_restarted(address: str | None, unseen_s: float, is_well: bool) -> None:
    assert is_well_without(address, unseen_s) == is_well

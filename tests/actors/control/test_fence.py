"""When an actor ends by itself. That it does, on machines that are cut off, is in tests/cells."""

import pytest

from doorstep.actors.control.control_plane import LOST_S
from doorstep.actors.control.fence import why_end


@pytest.mark.parametrize(
    ("is_counted", "cut_off_s", "why"),
    [
        (True, 0.0, ""),
        (None, 0.0, ""),  # Ray is away, and Redis is not
        (None, LOST_S, ""),
        (None, LOST_S + 1, "neither Ray's control plane nor Redis for 31 s"),
        (False, 0.0, "Ray takes this node for dead"),
    ],
)
def test_who_is_given_up_or_cut_off_ends(is_counted: bool | None, cut_off_s: float, why: str) -> None:
    assert why_end(is_counted, cut_off_s) == why

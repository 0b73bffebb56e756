"""The figures of docs/capacity.md: each is measured, and of a size that can be."""

import re

import pytest

from doorstep.benchmarks.sizes import PAYLOAD, Sizes, measure


@pytest.mark.slow
def test_what_a_log_takes_and_what_a_foreign_notification_costs() -> None:
    sizes = Sizes(
        users=200, depths=(1, 100), batches=640, cells=(0, 1), homes=(2,), notifications=400, rest_s=0.2
    )
    short, long, context, nobody, one_cell, two_homes, fullest = map(_figures, measure(sizes))
    assert len(PAYLOAD) == 440
    assert len(PAYLOAD) < short[-1] < 6000
    assert 90 * len(PAYLOAD) < long[-1] < 150 * len(PAYLOAD)
    assert 30 < context[-1] < 500
    assert 0 < nobody[1] < 1000
    assert 0 < one_cell[2] < 1000
    assert 0 < two_homes[2] < 1000
    assert 1 < fullest[1] < 1.2


def _figures(line: str) -> list[float]:
    return [float(number.replace(",", "")) for number in re.findall(r"[0-9][0-9,.]*", line)]

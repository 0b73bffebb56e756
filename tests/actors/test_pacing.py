"""Polls keep apart while records keep coming, and a lone record never waits."""

import pytest

from doorstep.actors.pacing import Pace


def test_the_first_poll_starts_at_once() -> None:
    assert Pace(0.004).wait(100.0) == 0


def test_polls_that_bring_records_are_kept_apart() -> None:
    pace = Pace(0.004)
    pace.polled(100.0, brought=True, more=False)
    assert pace.wait(100.001) == pytest.approx(0.003)
    assert pace.wait(100.005) == 0


def test_a_record_after_a_pause_does_not_wait() -> None:
    pace = Pace(0.004)
    pace.polled(100.0, brought=True, more=False)
    pace.polled(100.004, brought=False, more=False)
    assert pace.wait(100.005) == 0


def test_a_backlog_does_not_wait() -> None:
    pace = Pace(0.004)
    pace.polled(100.0, brought=True, more=True)
    assert pace.wait(100.0) == 0


def test_zero_switches_it_off() -> None:
    pace = Pace(0.0)
    pace.polled(100.0, brought=True, more=False)
    assert pace.wait(100.0) == 0

"""A Ray of our own is kept quiet, unless somebody wants it otherwise. (tests/test_seams.py: it knows how.)"""

import pytest

from doorstep.actors.control.quiet_ray import quiet_config


def test_an_environment_variable_of_the_operator_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quiet_config()["enable_metrics_collection"] is False
    monkeypatch.setenv("RAY_enable_metrics_collection", "1")
    assert "enable_metrics_collection" not in quiet_config()

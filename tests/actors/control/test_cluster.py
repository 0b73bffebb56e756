"""A Ray of our own is kept quiet: by settings that the installed Ray knows, and that can be overridden."""

from pathlib import Path

import pytest
import ray

from doorstep.actors.control.quiet_ray import QUIET_ENVIRONMENT, quiet_config

RAY = Path(ray.__file__).parent


def test_every_setting_is_one_of_the_installed_ray() -> None:
    known = (RAY / "_raylet.so").read_bytes()
    assert [name for name in quiet_config() if f"RAY_{name}\0".encode() not in known] == []


def test_every_environment_variable_is_read_by_the_installed_ray() -> None:
    sources = "".join(
        file.read_text()
        for package in ("_private", "autoscaler/_private", "dashboard")
        for file in (RAY / package).rglob("*.py")
    )
    assert [name for name in QUIET_ENVIRONMENT if f'"{name}"' not in sources] == []


def test_an_environment_variable_of_the_operator_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    assert quiet_config()["enable_metrics_collection"] is False
    monkeypatch.setenv("RAY_enable_metrics_collection", "1")
    assert "enable_metrics_collection" not in quiet_config()

"""Alerts and dashboard ask for metrics that exist, and the alerts fire when they should."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.deploy.conftest import CHART, ROOT

pytestmark = pytest.mark.patient

_FILES = CHART / "files"
_METRIC = re.compile(r"\bdoorstep_[a-z_]+")
_SUFFIXES = re.compile(r"_(bucket|count|sum)$")


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is missing: on Debian, apt-get install -y prometheus")
    return found


@pytest.mark.parametrize("file", ["alerts.yaml", "dashboard.json"])
def test_every_metric_is_one_that_operators_are_told_of(file: str) -> None:
    told = set(_METRIC.findall((ROOT / "docs/operations.md").read_text()))
    asked = {_SUFFIXES.sub("", name) for name in _METRIC.findall((_FILES / file).read_text())}
    assert asked - told == set()


def test_alerts_fire_when_they_should(promtool: str, tmp_path: Path) -> None:
    shutil.copy(_FILES / "alerts.yaml", tmp_path)
    shutil.copy(Path(__file__).with_name("alerts.test.yaml"), tmp_path)
    command = [promtool, "test", "rules", "alerts.test.yaml"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_alert_is_seen_to_fire() -> None:
    groups = yaml.safe_load((_FILES / "alerts.yaml").read_text())["groups"]
    alerts = {rule["alert"] for group in groups for rule in group["rules"] if "alert" in rule}
    cases = yaml.safe_load(Path(__file__).with_name("alerts.test.yaml").read_text())["tests"]
    seen = {each["alertname"] for case in cases for each in case["alert_rule_test"] if each["exp_alerts"]}
    assert alerts - seen == set()

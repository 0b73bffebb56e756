"""Helm, where it is there; the chart, rendered."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]

collect_ignore = [] if os.environ.get("DOORSTEP_TEST_DEPLOY") == "1" else ["test_chart.py"]
"""The chart's tests need helm, which takes minutes to build: `make test-deploy` runs them."""

CHART = ROOT / "deploy/helm"
KUBERNETES = "1.34.0"
REQUIRED = {"kafka": {"bootstrapServers": "kafka:9092"}, "secrets": {"name": "doorstep"}}

Manifest = dict[str, Any]
Render = Callable[..., list[Manifest]]


@pytest.fixture(scope="session")
def helm() -> Path:
    """The command, as `make test-deploy` builds it, or one of the machine's."""
    built = ROOT / "build/tools/helm"
    found = str(built) if built.exists() else shutil.which("helm")
    if found is None:
        pytest.skip("helm is missing: `make build/tools/helm` builds it (needs Go)")
    return Path(found)


@pytest.fixture
def render(helm: Path, tmp_path: Path) -> Render:
    """Renders the chart with values; raises `CalledProcessError` with helm's words where it refuses."""

    def rendered(**values: Any) -> list[Manifest]:
        file = tmp_path / "values.json"
        file.write_text(json.dumps(REQUIRED | values))
        done = subprocess.run(
            [
                helm,
                "template",
                "events",
                CHART,
                "--namespace",
                "school",
                "--values",
                file,
                "--kube-version",
                KUBERNETES,
            ],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "HELM_CACHE_HOME": str(tmp_path), "HELM_CONFIG_HOME": str(tmp_path)},
        )
        return [document for document in yaml.safe_load_all(done.stdout) if document]

    return rendered

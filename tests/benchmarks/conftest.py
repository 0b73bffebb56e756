"""The suite itself under test: it runs against a small server that keeps the contract, or breaks it."""

import os
import sys
from collections.abc import Callable, Mapping
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from doorstep.benchmarks.program import Options, run_suite
from doorstep.benchmarks.results import Report
from doorstep.benchmarks.scenario import Suite
from doorstep.benchmarks.screen import Screen
from tests.support.servers import KafkaServer, ValkeyServer

CONTRACT_SERVER = (sys.executable, str(Path(__file__).with_name("contract_server.py")))
JARS = Path(os.environ.get("DOORSTEP_TEST_KAFKA_JARS", Path(__file__).parents[2] / "build" / "kafka"))

SILENT = Screen(Console(file=StringIO()))

RunSuite = Callable[..., Report]


@pytest.fixture
def run_scenarios(kafka: KafkaServer, valkey: ValkeyServer, tmp_path: Path) -> RunSuite:
    """Call it with scenarios (name -> TOML without the name); runs them on the contract server."""

    def run(scenarios: Mapping[str, str], *, naive: bool = False, ours: bool = True) -> Report:
        options = Options(
            suite=Suite.BENCH,
            out=tmp_path / "out",
            kafka_jars=JARS,
            directory=write_scenarios(tmp_path / "scenarios", scenarios),
            kafka=kafka.bootstrap,
            redis=valkey.url,
            serve=CONTRACT_SERVER,
            naive=naive,
            ours=ours,
            warm_up_s=0.3,
        )
        return run_suite(options, SILENT)

    return run


@pytest.fixture
def run_shipped(kafka: KafkaServer, valkey: ValkeyServer, tmp_path: Path) -> RunSuite:
    """Call it with a suite; runs it as it is shipped, on Doorstep itself."""

    def run(suite: Suite, *, naive: bool = False) -> Report:
        options = Options(
            suite=suite,
            out=tmp_path / "out",
            kafka_jars=JARS,
            kafka=kafka.bootstrap,
            redis=valkey.url,
            naive=naive,
        )
        return run_suite(options, SILENT)

    return run


def write_scenarios(directory: Path, scenarios: Mapping[str, str]) -> Path:
    """A directory with a file for each scenario."""
    directory.mkdir()
    for number, (name, text) in enumerate(scenarios.items()):
        (directory / f"{number:02}-{name}.toml").write_text(f'name = "{name}"\nabout = ""\n{text}')
    return directory

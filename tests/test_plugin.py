"""The test run is strict in CI, and its summary shows what it promises."""

import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

pytestmark = pytest.mark.patient

ROOT = Path(__file__).parents[1]

Run = subprocess.CompletedProcess[str]

SOURCES = {
    "passes": """
def test_passes(record_figure, record_component):
    record_figure("latency", "3.5 ms")
    record_component("Cache", "7.1")
""",
    "needs_a_part": """
from tests.support.components import missing

def test_needs_a_part():
    missing("Broker", "run the installer")
""",
    "skipped_module": """
import pytest

pytest.importorskip("a_library_that_nobody_has")
""",
    "known_bug": """
import pytest

@pytest.mark.xfail
def test_known_bug():
    raise AssertionError
""",
}
"""Test modules for runs inside of these tests."""


@pytest.fixture(scope="module")
def at_home(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What a run of all of them prints where CI is not set."""
    return _run(tmp_path_factory.mktemp("at-home"), ci="")


@pytest.fixture(scope="module")
def in_ci(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """What a run of all of them prints where CI is true."""
    return _run(tmp_path_factory.mktemp("in-ci"), ci="true")


def _run(directory: Path, *options: str, ci: str) -> Run:
    for name, source in SOURCES.items():
        (directory / f"test_{name}.py").write_text(source)
    # The empty configuration file keeps the options of this repository out.
    configuration = directory / "pytest.ini"
    configuration.write_text("[pytest]\n")
    # A run that is measured would take the data of the run that this test belongs to.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
    command = ["-m", "pytest", "-p", "tests.support.plugin", "-c", str(configuration), str(directory)]
    command += ["--continue-on-collection-errors", *options]
    return subprocess.run(
        [sys.executable, *command],
        cwd=ROOT,
        env={**environment, "CI": ci},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.mark.slow
def test_skips_are_failures_in_ci_only(at_home: Run, in_ci: Run) -> None:
    assert at_home.returncode == 0
    assert in_ci.returncode != 0
    for name in ("needs_a_part", "skipped_module"):
        assert re.search(rf"(FAILED|ERROR) .*test_{name}\.py", in_ci.stdout)
    assert "Nothing may be skipped where CI=true" in in_ci.stdout


@pytest.mark.slow
def test_missing_part_is_named_with_its_remedy(at_home: Run) -> None:
    assert "MISSING components" in at_home.stdout
    assert re.search(r"^Broker +run the installer$", at_home.stdout, re.MULTILINE)


@pytest.mark.slow
def test_summary_shows_parts_and_figures_before_the_closing_line(at_home: Run) -> None:
    lines = at_home.stdout.splitlines()
    assert any(re.fullmatch(r"Cache +7\.1", line) for line in lines)
    assert any(re.fullmatch(r"Python +3\..*", line) for line in lines)
    assert any(re.fullmatch(r"latency +3\.5 ms", line) for line in lines)
    assert re.fullmatch(r"=+ 1 passed, 2 skipped, 1 xfailed in .*s =+", lines[-1])


@pytest.mark.slow
def test_tests_in_several_processes_tell_what_they_found(tmp_path: Path) -> None:
    printed = _run(tmp_path, "--numprocesses", "2", ci="").stdout
    assert re.search(r"^Cache +7\.1$", printed, re.MULTILINE)
    assert re.search(r"^latency +3\.5 ms$", printed, re.MULTILINE)
    assert re.search(r"^Broker +run the installer$", printed, re.MULTILINE)


STARTS_A_PROCESS = """
import os, subprocess, sys
import pytest

@pytest.mark.usefixtures("without_coverage")
def test_measures_time():
    pass

@pytest.mark.parametrize("number", range(2))
def test_its_processes_are_not_measured(number):
    asked = "import coverage; print(coverage.Coverage.current())"
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True).stdout == b"None\\n"

def test_it_is_measured_itself():
    import coverage
    assert coverage.Coverage.current() is not None
"""


@pytest.mark.slow
@pytest.mark.parametrize("options", [(), ("--numprocesses", "2", "--dist", "loadfile")])
def test_processes_that_tests_start_are_not_measured(tmp_path: Path, options: Sequence[str]) -> None:
    (tmp_path / "test_it.py").write_text(STARTS_A_PROCESS)
    (tmp_path / ".coveragerc").write_text("[run]\nbranch = true\nparallel = true\npatch = subprocess\n")
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))
    }
    done = subprocess.run(
        [sys.executable, "-m", "coverage", "run", "-m", "pytest", "-p", "tests.support.plugin", *options],
        cwd=tmp_path,
        env=environment | {"PYTHONPATH": str(ROOT), "CI": ""},
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


STUCK = """
import asyncio
import pytest
from tests.support import last_resort

last_resort.GRACE_S = 1.0

@pytest.fixture
def stuck_afterwards():
    yield
    _stick()

def _stick():
    while True:  # as uvloop does, which logs what its callbacks raise
        try:
            asyncio.run(asyncio.sleep(60))
        except BaseException:
            pass

@pytest.mark.timeout(1)
def test_keeps_its_timeout():
    _stick()

@pytest.mark.timeout(1)
@pytest.mark.usefixtures("stuck_afterwards")
def test_fails_and_does_not_end():
    raise LookupError

def test_in_time():
    pass
"""


@pytest.mark.slow
def test_a_process_that_a_timeout_can_not_end_is_ended_and_the_others_tests_run(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(STUCK)
    options = ("-p", "tests.support.last_resort", "--numprocesses", "1")
    done = _run(tmp_path, *options, "-k", "test_it.py", ci="")
    for name in ("keeps_its_timeout", "fails_and_does_not_end"):
        assert re.search(rf"^worker .* crashed while running .*::test_{name}'$", done.stdout, re.MULTILINE)
    assert re.search(r"^=+ 3 failed, 1 passed", done.stdout, re.MULTILINE)
    assert re.search(r"\bin _stick$", done.stderr, re.MULTILINE), "the stacks are printed"


def test_an_example_of_random_input_may_take_as_long_as_it_takes() -> None:
    assert settings().deadline is None
    assert HealthCheck.too_slow in settings().suppress_health_check

"""Modules stay together, and what takes longest runs first."""

import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.support.order import next_scope, place_of, scope_of

pytestmark = pytest.mark.patient

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize(
    ("earlier", "later"),
    [({"alone"}, {"ray"}), ({"ray", "kafka"}, {"browser"}), ({"kafka"}, {"valkey"}), ({"slow"}, set())],
)
def test_what_takes_longer_runs_earlier(earlier: set[str], later: set[str]) -> None:
    assert place_of("a.py", earlier) < place_of("b.py", later)


def test_the_seams_run_first() -> None:
    assert place_of("tests/test_seams.py", set()) < place_of("a.py", {"alone"})


def test_a_module_is_a_scope_and_the_front_end_another() -> None:
    assert scope_of("tests/e2e/test_a.py::test_b[c::d/e]") == "tests/e2e/test_a.py"
    assert scope_of("tests/frontend/test_a.py::test_b") == scope_of("tests/frontend/test_c.py::test_d")


def test_two_processes_take_what_is_longest_one_what_is_patient_and_the_others_what_is_quick() -> None:
    def chosen(scopes: Sequence[str], patient: set[str]) -> list[str | None]:
        return [next_scope(process, scopes, patient) for process in ("gw0", "gw1", "gw2", "gw3", "gw4")]

    assert chosen(["docs", "e2e", "kafka", "quick", "seeds"], {"docs", "seeds"}) == [
        "e2e",
        "e2e",
        "quick",
        "docs",
        "quick",
    ]
    assert chosen(["e2e", "quick"], set()) == ["e2e", "e2e", "quick", None, "quick"]
    assert chosen(["docs", "seeds"], {"docs", "seeds"}) == ["docs", "docs", "seeds", "docs", "seeds"]


MODULE = """
import os, pathlib, time, pytest

@pytest.mark.parametrize("number", range(6))
def test_it(number):
    time.sleep(0.05)
    done = pathlib.Path(__file__).with_suffix("." + os.environ["PYTEST_XDIST_WORKER"])
    done.write_text(str(os.getpriority(os.PRIO_PROCESS, 0)))
"""
PATIENT = MODULE.replace("\n@", "\npytestmark = pytest.mark.patient\n\n@", 1)


def _run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Four processes, with the plugin."""
    (directory / "pytest.ini").write_text("[pytest]\n")
    options = ["-p", "tests.support.plugin", "-c", "pytest.ini", "--numprocesses", "4", "--dist", "loadfile"]
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("COV", "PYTEST"))
    }
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, "--no-loadscope-reorder", *arguments],
        cwd=directory,
        env=environment | {"PYTHONPATH": str(ROOT)},
        check=False,
        capture_output=True,
        text=True,
    )


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Sequence[Path]:
    """A file of each module for each process that ran tests of it."""
    tmp_path = tmp_path_factory.mktemp("tests")
    (tmp_path / "frontend").mkdir()
    for name in ("a", "b", "frontend/c", "frontend/d", "frontend/e", "z"):
        (tmp_path / name).with_suffix(".py").write_text(MODULE)
    (tmp_path / "docs.py").write_text(PATIENT)
    done = _run(tmp_path, *map(str, sorted(tmp_path.rglob("*.py"))))
    assert done.returncode == 0, done.stdout
    return list(tmp_path.rglob("*.gw*"))


@pytest.mark.slow
def test_each_module_is_run_by_one_process_and_the_front_end_by_one(ran: Sequence[Path]) -> None:
    assert sorted(file.stem for file in ran) == ["a", "b", "c", "d", "docs", "e", "z"]
    assert len({file.suffix for file in ran if file.parent.name == "frontend"}) == 1


@pytest.mark.slow
def test_the_third_process_begins_with_the_last_module(ran: Sequence[Path]) -> None:
    assert next(file.suffix for file in ran if file.stem == "z") == ".gw2"


@pytest.mark.slow
def test_the_fourth_process_runs_what_is_patient_at_the_lowest_priority(ran: Sequence[Path]) -> None:
    assert {file.stem: file.read_text() for file in ran if file.suffix == ".gw3"} == {"docs": "19"}


ENDS = """
import os, time, pytest

time.sleep(0.2)  # so that one process ends while another looks for the tests

@pytest.mark.parametrize("number", range(4))
def test_it(number):
    if number in {numbers}:
        time.sleep({pause_s})
        os._exit(1)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ends", "pause_s"),
    [
        ({"a": (0,), "b": (1, 2), "c": (3,), "d": ()}, 0),
        ({"a": (2,), "b": (), "c": (), "d": (), "e": ()}, 2),
    ],
    ids=["at once", "when the others are done"],
)
def test_where_a_process_ends_its_test_has_failed_and_all_others_run_once(
    tmp_path: Path, ends: Mapping[str, Sequence[int]], pause_s: float
) -> None:
    """At the first test of a module, at the last one and between them, and again at once."""
    for name, numbers in ends.items():
        (tmp_path / f"test_{name}.py").write_text(ENDS.format(numbers=numbers, pause_s=pause_s))
    done = _run(tmp_path, "--verbose")
    failed = [f"test_{name}.py::test_it[{number}]" for name, numbers in ends.items() for number in numbers]
    crashed = re.findall(r"^worker .* crashed while running '(.*)'$", done.stdout, re.MULTILINE)
    assert sorted(crashed) == failed
    passed = 4 * len(ends) - len(failed)
    assert re.search(rf"=+ {len(failed)} failed, {passed} passed", done.stdout), done.stdout

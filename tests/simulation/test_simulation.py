"""Seeds of the simulation, each in a process whose sets have a fixed order."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.patient

SEEDS = 250
"""About 20 seconds of one core; `make simulate` runs 10,000."""

FOUND = (660, 692, 2663)
"""Each of these found something."""


def _simulate(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.simulation", "--jobs", "1", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def _lines(seed: int) -> list[str]:
    """All but the last one, which tells the time that it took."""
    return _simulate("--seed", seed).stdout.splitlines()[:-1]


@pytest.mark.slow
def test_seeds() -> None:
    done = _simulate("--count", SEEDS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("seed", FOUND)
def test_a_seed_that_has_found_something_finds_nothing_now(seed: int) -> None:
    done = _simulate("--seed", seed)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_seed_is_always_the_same_run() -> None:
    lines = _lines(57)
    assert len(lines) > 10
    assert _lines(57) == lines


@pytest.mark.slow
def test_what_is_broken_is_found() -> None:
    done = _simulate("--mutations")
    assert done.returncode == 0, done.stdout + done.stderr

"""Turns of tests: several processes run tests at once (pytest-xdist), but none beside one that measures.

A test marked `alone` has the machine to itself, as far as other tests of this checkout go. How long it waits
for that is not part of its timeout.
"""

import fcntl
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def turn(room: Path, door: Path, *, alone: bool) -> Iterator[None]:
    """Wait for a turn, and have it as long as the block runs. Two files that exist are its locks.

    Whoever waits to be alone in the room keeps the door, so that no newcomer overtakes.
    """
    with room.open() as inside:
        with door.open() as entering:
            fcntl.flock(entering, fcntl.LOCK_EX)
            fcntl.flock(inside, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        yield


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    alone = item.get_closest_marker("alone") is not None
    with turn(Path(__file__), Path(__file__).with_name("plugin.py"), alone=alone):
        return (yield)

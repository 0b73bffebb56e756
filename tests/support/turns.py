"""Turns of tests: several processes run tests at once (pytest-xdist), but none beside one that measures.

Tests marked `alone` have the machine to themselves, as far as other tests of this checkout go. How long they
wait for that is not part of their timeouts. Only the process of the patient (tests/support/order.py) goes on
beside them, with what they leave it of the machine.
"""

import fcntl
from collections.abc import Generator, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.support.order import is_patient


class Turns:
    """Those of one process, which runs a test after the other. Two files that exist are the locks of all."""

    def __init__(self, room: Path, door: Path) -> None:
        self._room = room
        self._door = door
        self._alone = ExitStack()
        self._is_alone = False

    @contextmanager
    def turn(self, *, alone: bool, next_alone: bool = False) -> Iterator[None]:
        """Wait for a turn, and have it while the block runs; who is alone stays so where the next is, too."""
        if not alone:
            with self._inside(fcntl.LOCK_SH):
                yield
            return
        if not self._is_alone:
            self._alone.enter_context(self._inside(fcntl.LOCK_EX))
        self._is_alone = next_alone
        try:
            yield
        finally:
            if not next_alone:
                self._alone.close()

    @contextmanager
    def _inside(self, how: int) -> Iterator[None]:
        """Whoever waits to be alone in the room keeps the door, so that no newcomer overtakes."""
        with self._room.open() as inside:
            with self._door.open() as entering:
                fcntl.flock(entering, fcntl.LOCK_EX)
                fcntl.flock(inside, how)
            yield


_TURNS = Turns(Path(__file__), Path(__file__).with_name("plugin.py"))


def is_alone(item: pytest.Item | None) -> bool:
    """Whether a test is to have the machine to itself."""
    return item is not None and item.get_closest_marker("alone") is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(
    item: pytest.Item, nextitem: pytest.Item | None
) -> Generator[None, object, object]:
    if is_patient():
        return (yield)
    with _TURNS.turn(alone=is_alone(item), next_alone=is_alone(nextitem)):
        return (yield)

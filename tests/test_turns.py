"""Who measures is alone, and nobody who wants to be alone waits for ever."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.turns import Turns

_SOON_S = 10
_NOT_YET_S = 0.1


def turns_at(place: Path) -> Turns:
    """Those of a process of its own."""
    return Turns(place / "room", place / "door")


class Someone:
    """Takes a turn in a thread, and has it until told to go."""

    def __init__(self, place: Path, *, alone: bool = False) -> None:
        self.is_in = threading.Event()
        self._may_go = threading.Event()
        self._thread = threading.Thread(target=self._stay, args=(place, alone))
        self._thread.start()

    def goes(self) -> None:
        self._may_go.set()
        self._thread.join(_SOON_S)

    def _stay(self, place: Path, alone: bool) -> None:
        with turns_at(place).turn(alone=alone):
            self.is_in.set()
            self._may_go.wait(_SOON_S)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "room").touch()
    (tmp_path / "door").touch()
    return tmp_path


@contextmanager
def someone(place: Path, *, alone: bool = False) -> Iterator[Someone]:
    one = Someone(place, alone=alone)
    try:
        yield one
    finally:
        one.goes()


def test_many_have_their_turn_at_once(place: Path) -> None:
    with someone(place) as first, someone(place) as second:
        assert first.is_in.wait(_SOON_S)
        assert second.is_in.wait(_SOON_S)


def test_who_measures_is_alone_and_is_not_overtaken(place: Path) -> None:
    with someone(place) as first:
        assert first.is_in.wait(_SOON_S)
        with someone(place, alone=True) as measuring:
            assert not measuring.is_in.wait(_NOT_YET_S)
            with someone(place) as newcomer:
                assert not newcomer.is_in.wait(_NOT_YET_S)
                first.goes()
                assert measuring.is_in.wait(_SOON_S)
                assert not newcomer.is_in.wait(_NOT_YET_S)
                measuring.goes()
                assert newcomer.is_in.wait(_SOON_S)


def test_who_is_alone_next_too_stays_alone(place: Path) -> None:
    measuring = turns_at(place)
    with measuring.turn(alone=True, next_alone=True):
        pass
    with someone(place) as other:
        assert not other.is_in.wait(_NOT_YET_S)
        with measuring.turn(alone=True):
            assert not other.is_in.wait(_NOT_YET_S)
        assert other.is_in.wait(_SOON_S)
    with measuring.turn(alone=False), someone(place) as other:
        assert other.is_in.wait(_SOON_S)

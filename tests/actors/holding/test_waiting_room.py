"""Who gives way to whom: sockets that answer never do, those that are silent do, the oldest first."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.holding import waiting_room
from doorstep.actors.holding.waiting_room import WaitingRoom


class Socket:
    """One that answers a ping after so many looks; never, if that is None."""

    def __init__(self, house: "House", answers_after: int | None) -> None:
        self._house = house
        self._answers_after = answers_after
        self._probed_at: int | None = None

    @property
    def is_silent(self) -> bool:
        if self._probed_at is None:
            return False
        return self._answers_after is None or self._house.looks < self._probed_at + self._answers_after

    def probe(self) -> None:
        self._probed_at = self._house.looks

    def give_way(self) -> None:
        assert self.is_silent
        self._house.sockets.remove(self)
        self._house.gone.append(self)


class House:
    """One user's sockets, of which there may be `limit`."""

    def __init__(self, answers_after: list[int | None], waiting: int = 10) -> None:
        self.limit = len(answers_after)
        self.looks = 0
        self.sockets = [Socket(self, after) for after in answers_after]
        self.gone: list[Socket] = []
        self.let_in: list[int] = []
        self.turned_away: list[int] = []
        self.attending: list[asyncio.Task[None]] = []
        self.room = WaitingRoom[int](
            self, waiting, let_in=self._let_in, turn_away=self.turned_away.append, spawn=self._spawn
        )

    def seated(self, _: str) -> list[Socket]:
        self.looks += 1
        return list(self.sockets)

    def has_room(self, _: str) -> bool:
        return len(self.sockets) < self.limit

    def _let_in(self, newcomer: int) -> None:
        assert len(self.sockets) < self.limit
        self.let_in.append(newcomer)
        self.sockets.append(Socket(self, 0))

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        self.attending.append(asyncio.create_task(work))

    async def until_settled(self) -> None:
        """Let everything happen."""
        await asyncio.gather(*self.attending)


@pytest.fixture(autouse=True)
def _in_no_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting_room, "_LOOK_S", 0)


async def test_the_oldest_silent_socket_gives_way() -> None:
    house = House([3, None, 0, None])
    _, silent, _, other = house.sockets
    house.room.enter("u", 1)
    await house.until_settled()
    assert (house.let_in, house.gone) == ([1], [silent])
    assert other in house.sockets


async def test_nobody_waits_once_everybody_has_answered() -> None:
    house = House([2, 0, 5])
    house.room.enter("u", 1)
    await house.until_settled()
    assert (house.turned_away, house.gone) == ([1], [])
    assert house.looks < 10


async def test_one_that_is_slow_but_answers_stays() -> None:
    house = House([waiting_room._LOOKS - 2])
    house.room.enter("u", 1)
    await house.until_settled()
    assert (house.turned_away, house.gone) == ([1], [])


async def test_room_that_is_made_meanwhile_is_taken() -> None:
    house = House([None, 0])
    house.room.enter("u", 1)
    house.sockets.pop()
    await house.until_settled()
    assert (house.let_in, house.gone) == ([1], [])


async def test_more_newcomers_than_may_wait_are_turned_away_at_once() -> None:
    house = House([None, None], waiting=2)
    for newcomer in (1, 2, 3):
        house.room.enter("u", newcomer)
    assert house.turned_away == [3]
    await house.until_settled()
    assert house.let_in == [1, 2]


@given(answers=st.lists(st.none() | st.integers(0, 60), min_size=1, max_size=6), newcomers=st.integers(1, 8))
def test_each_newcomer_is_let_in_for_a_silent_one_or_turned_away(
    answers: list[int | None], newcomers: int
) -> None:
    house = House(answers)

    async def all_of_it() -> None:
        for newcomer in range(newcomers):
            house.room.enter("u", newcomer)
        await house.until_settled()

    asyncio.run(all_of_it())
    assert sorted(house.let_in + house.turned_away) == list(range(newcomers))
    assert len(house.sockets) == house.limit
    assert len(house.gone) == len(house.let_in)
    assert house.let_in == list(range(len(house.let_in)))

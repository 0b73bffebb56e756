"""Newcomers whose user has as many sockets as are allowed: one that only seems to be there gives way."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

_LOOK_S = 0.05
_LOOKS = 40
"""So a socket may stay silent for two seconds after a ping before it gives way."""


class Seated(Protocol):
    """A socket that was let in before."""

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard of its client since the last ping."""

    def probe(self) -> None:
        """Ping it now."""

    def give_way(self) -> None:
        """Cut it off; there is room for another one when this returns."""


class House(Protocol):
    """Who is in, and how many may be."""

    def seated(self, user_id: str) -> Sequence[Seated]:
        """The sockets of a user, oldest first."""

    def has_room(self, user_id: str) -> bool:
        """Whether the user may have one more."""


T = TypeVar("T")


class WaitingRoom(Generic[T]):
    """Asks all sockets of a user for a sign of life, once for all newcomers who wait meanwhile.

    A phone that flaps leaves sockets behind that nobody has closed. They are found by their silence and not
    by their age: the oldest may well be the one tab that is open all day. Nobody waits longer than two
    seconds, or than it takes all sockets to answer.
    """

    def __init__(
        self,
        house: House,
        limit: int,
        *,
        let_in: Callable[[T], None],
        turn_away: Callable[[T], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        """`limit`: how many newcomers of one user may wait. Each one is let in or turned away, once."""
        self._house = house
        self._limit = limit
        self._let_in = let_in
        self._turn_away = turn_away
        self._spawn = spawn
        self._waiting: dict[str, list[T]] = {}

    def enter(self, user_id: str, newcomer: T) -> None:
        """Wait until it is known whether there is room."""
        waiting = self._waiting.setdefault(user_id, [])
        if len(waiting) >= self._limit:
            self._turn_away(newcomer)
            return
        waiting.append(newcomer)
        if len(waiting) == 1:
            for socket in self._house.seated(user_id):
                socket.probe()
            self._spawn(self._attend(user_id))

    async def _attend(self, user_id: str) -> None:
        for _ in range(_LOOKS):
            if not self._settle(user_id, is_over=False):
                return
            await asyncio.sleep(_LOOK_S)
        self._settle(user_id, is_over=True)

    def _settle(self, user_id: str, *, is_over: bool) -> bool:
        """Let in whom there is room for; says whether it is worth to wait on."""
        waiting = self._waiting[user_id]
        silent = [socket for socket in self._house.seated(user_id) if socket.is_silent]
        while waiting and (self._house.has_room(user_id) or (is_over and silent)):
            if not self._house.has_room(user_id):
                silent.pop(0).give_way()
            self._let_in(waiting.pop(0))
        if waiting and silent:
            return True
        for newcomer in self._waiting.pop(user_id):
            self._turn_away(newcomer)
        return False

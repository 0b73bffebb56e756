"""The homes of users, as a process knows them: what cells said of themselves in Redis last."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable
from typing import Literal

import structlog

from doorstep.actors.placement.homes import home_of, slots_at
from doorstep.actors.store.living_cells import LivingCells
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreError
from doorstep.config.settings import Settings

_LOOK_S = 1.0
_TRUST_S = 10.0
"""For so long it is worth to send somebody to a cell that lived when it was last known."""

logger = structlog.get_logger(__name__)

Word = Literal["here", "gone"]
"""What a cell says of itself: whether it takes sockets."""


async def _nothing() -> Word | None:
    return None


def _ignore(_: frozenset[int]) -> None: ...


class Homes:
    """Knows which cells live, and looks every second. While Redis is away it stays as it was.

    Each process has its own view, late by a second or by more, and that is enough: wherever a user is, it is
    served.
    """

    def __init__(
        self,
        settings: Settings,
        name: Callable[[], str],
        on_change: Callable[[frozenset[int]], None] = _ignore,
        word: Callable[[], Awaitable[Word | None]] = _nothing,
    ) -> None:
        """`name` has the public name of our node, and raises `ValueError` where it has none; it may block.
        `on_change` is told of the slots whose home is our cell, where those are others than before;
        `word` has what is to be said of our cell, if anything."""
        self._name = name
        self._on_change = on_change
        self._word = word
        self._cells: frozenset[str] = frozenset()
        self._looked_at = -math.inf
        self._connection = connect(settings.redis)
        self._living = LivingCells(self._connection)

    def home_of(self, user_id: str) -> str | None:
        """The public name of the node where a user is best off; None where nobody knows."""
        is_known = time.monotonic() - self._looked_at < _TRUST_S
        return home_of(user_id, self._cells) if is_known else None

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            name = await self._learn_name()
            while True:
                try:
                    self._take(name, await self._look(name))
                except StoreError as error:
                    logger.warning("cells_not_read", reason=str(error))
                await asyncio.sleep(_LOOK_S)
        finally:
            await self._connection.close()

    async def _learn_name(self) -> str | None:
        """Ours; None where the node has none: then it is no home, and listens to everything."""
        try:
            return await asyncio.to_thread(self._name)
        except ValueError as error:
            logger.error("no_public_name", reason=str(error))
            return None

    async def _look(self, name: str | None) -> frozenset[str]:
        word = await self._word()
        if name is None or word is None:
            return await self._living.names()
        return await (self._living.say_here(name) if word == "here" else self._living.say_gone(name))

    def _take(self, name: str | None, cells: frozenset[str]) -> None:
        self._looked_at = time.monotonic()
        if cells == self._cells:
            return
        logger.info("cells_changed", cells=sorted(cells), ours=name)
        before, self._cells = self._cells, cells
        if name is not None and {*before, name} != {*cells, name}:
            self._on_change(slots_at(name, cells))

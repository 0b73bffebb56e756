"""How far users say that they have read, on its way to their logs."""

import asyncio
from functools import partial

from doorstep.actors.runtime.breaker import Breaker
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.errors import StoreError
from doorstep.gateway.cursor import Cursor

_PAUSE_S = 0.1
"""So often at most Redis is told; what comes meanwhile goes together."""


class ReadMarks:
    """The marks to be remembered, the furthest of each user. Whether one holds is the log's to judge.

    Nobody waits for it, and nothing is answered: who is connected hears of a mark when it is in the log.
    """

    def __init__(self, log: Log, redis: Breaker) -> None:
        self._log = log
        self._redis = redis
        self._wanted: dict[str, Cursor] = {}
        self._filled = asyncio.Event()

    def add(self, user_id: str, cursor: Cursor) -> None:
        """A client of this user says so."""
        known = self._wanted.get(user_id)
        if known is None or known.seq <= cursor.seq:
            self._wanted[user_id] = cursor
            self._filled.set()

    async def run(self) -> None:
        """Pass them on until cancelled; while Redis is away they are kept."""
        while True:
            await self._filled.wait()
            self._filled.clear()
            marks, self._wanted = self._wanted, {}
            await self._redis.retry("mark read", partial(self._log.mark_read, marks), StoreError)
            await asyncio.sleep(_PAUSE_S)

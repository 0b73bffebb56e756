"""The cells that live and can take sockets, as far as they say so in Redis: all that have the same logs."""

from doorstep.actors.store.redis.calls import Connection, Script

_CELLS = Script("cells.lua")
_HEARD_MS = 6_000
"""A cell that has said nothing for so long is taken for dead."""


class LivingCells:
    """Their names, by the clock of Redis.

    Every method returns all of them, and raises `StoreUnavailable`, and `StoreError` for a value that is not
    ours.
    """

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def names(self) -> frozenset[str]:
        """Those that live."""
        return await self._say()

    async def say_here(self, name: str) -> frozenset[str]:
        """This one lives, and takes sockets: to be said at least every other second."""
        return await self._say("here", name)

    async def say_gone(self, name: str) -> frozenset[str]:
        """This one takes none any more."""
        return await self._say("gone", name)

    async def _say(self, *what: str) -> frozenset[str]:
        found = await self._connection.run_one(_CELLS.call([self._connection.keys.cells], [_HEARD_MS, *what]))
        return frozenset(name.decode() for name in found) if isinstance(found, list) else frozenset()

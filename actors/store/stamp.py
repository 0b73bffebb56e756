"""The stamp of a store: the format of what is in it, and its id.

The id is the digest before the first notification of every log, so that no cursor of one store is one of
another. It is kept on every master, in a Cluster under the hash tag of every slot, where the scripts read it.

It does not change when Redis loses its data, as long as somebody remembers it: what is appended again then
has the digests that it had, and whoever has seen it all goes on as if nothing had been.
"""

import re
import secrets
from collections.abc import Awaitable, Callable, Sequence

from doorstep.actors.placement.slots import SLOTS
from doorstep.actors.store.redis.calls import Connection, Script, command
from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.actors.store.redis.link import Reply

FORMAT = 1
"""Of all that is kept in Redis. It grows when an older Doorstep would misread what a newer one wrote."""

_STAMP = Script("stamp.lua")
_ID = re.compile(rb"[0-9a-f]{16}")


class Stamp:
    """The stamp of the store that a connection leads to."""

    def __init__(self, connection: Connection, remembered: str | None = None) -> None:
        """`remembered`: the id that the store had, as far as the caller knows from elsewhere."""
        self._connection = connection
        self._keys = [connection.keys.stamp(slot) for slot in range(SLOTS if connection.sharded else 1)]
        self._remembered = remembered

    async def ensure(self, recall: Callable[[], Awaitable[str | None]] | None = None) -> str:
        """The store's id, on every master from now on; the one that is remembered, or a new one, where there
        is none. Somebody else's memory, `recall`, is asked only where it is needed.

        To be called before anything is read or written. Raises `StoreUnavailable`, and `StoreMisconfigured`
        for a store in a format that this Doorstep does not know.
        """
        found = await self._connection.run([command("HGET", key, "id", foreign=None) for key in self._keys])
        ids = {id_.decode() if _is_id(id_) else "" for id_ in found}
        if self._remembered is not None and ids == {self._remembered}:
            return self._remembered
        wanted = max(ids) or self._remembered or (recall and await recall()) or secrets.token_hex(8)
        first, *others = self._keys
        (self._remembered,) = await self._write([first], wanted, "unless there is one")
        await self._write(others, self._remembered, "always")
        return self._remembered

    async def knows(self, identity: str) -> bool:
        """Whether a consumer has looked at exactly the servers of this identity, and they have lost nothing
        since (`advance.lua` leaves that there). Raises `StoreUnavailable`."""
        found = await self._connection.run(
            [command("HGET", key, "servers", foreign=None) for key in self._keys]
        )
        return set(found) == {identity.encode()}

    async def _write(self, keys: Sequence[str], id_: str, when: str) -> Sequence[str]:
        """Write the stamp; returns the ids that these keys have now."""
        calls = [_STAMP.call([key], [FORMAT, id_, when]) for key in keys]
        replies = await self._connection.run(calls)
        newest = max((format_ for format_, _ in replies), default=FORMAT)
        if newest > FORMAT:
            raise StoreMisconfigured(_newer(newest))
        return [kept.decode() for _, kept in replies]


def _is_id(found: Reply) -> bool:
    return isinstance(found, bytes) and _ID.fullmatch(found) is not None


def _newer(found: int) -> str:
    return (
        f"what is in this Redis has format {found}, of a newer Doorstep; this one knows {FORMAT}: "
        "run the newer one, or give this one another database or DOORSTEP_REDIS__PREFIX"
    )

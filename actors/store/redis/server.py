"""One Redis server, and the link that all calls to it share."""

import asyncio
from collections.abc import Awaitable, Callable

from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.actors.store.redis.link import Address, Link, Login, OnLost, OnPush, Reply


class Server:
    """A server to be found anew whenever its link was lost; one per master."""

    def __init__(self, find: Callable[[], Awaitable[Address]], login: Login) -> None:
        """`find` says where it is now; raises `StoreUnavailable`."""
        self._find = find
        self._login = login
        self._link: Link | None = None
        self._opening: asyncio.Task[Link] | None = None
        self._drops = 0

    @property
    def link(self) -> Link | None:
        """The shared link; None while it is not open."""
        return self._link if self._link is not None and self._link.is_open else None

    async def exchange(self, commands: bytes, count: int) -> list[Reply]:
        """See `Link.exchange`; opens the link first if need be. Raises `StoreUnavailable`."""
        link = self.link or await self._shared()
        return await link.exchange(commands, count)

    async def open(self, on_push: OnPush, on_lost: OnLost) -> Link:
        """Another link, for its caller alone. Raises `StoreUnavailable`."""
        return await Link.open(await self._find(), self._login, on_push, on_lost)

    def drop(self) -> None:
        """End the shared link; the next call finds the server anew."""
        self._drops += 1
        link, self._link = self._link, None
        if link is not None:
            link.close()

    async def _shared(self) -> Link:
        if self._opening is None:
            self._opening = asyncio.create_task(self._open(self._drops))
            self._opening.add_done_callback(self._opened)
        return await asyncio.shield(self._opening)

    async def _open(self, drops: int) -> Link:
        link = await Link.open(await self._find(), self._login)
        if drops != self._drops:
            link.close()
            raise StoreUnavailable(f"the link to Redis at {link.address} was dropped while it was opened")
        self._link = link
        return link

    def _opened(self, opening: asyncio.Task[Link]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()  # seen, even if whoever waited for it has given up

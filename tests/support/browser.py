"""A browser of a user, as the guide tells to write one: resumes by cursor, and writes down all it gets."""

import asyncio
import json
import random
from contextlib import suppress
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidMessage

from tests.support.service import token_for
from tests.support.waiting import PATIENCE_S


@dataclass
class Journal:
    """What one device got, in the order in which it came."""

    notifications: list[dict[str, Any]] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    """Monotonic seconds of each notification's arrival."""
    resets: list[str] = field(default_factory=list)
    """Their reasons, whether they came with a welcome or alone."""
    connects: int = 0
    gone: list[float] = field(default_factory=list)
    """Monotonic seconds at which it was told to come back."""

    @property
    def seqs(self) -> list[int]:
        """Their numbers."""
        return [notification["seq"] for notification in self.notifications]

    @property
    def ids(self) -> list[str]:
        """Their event ids."""
        return [notification["id"] for notification in self.notifications]


class Browser:
    """One device: `async with Browser(address, user) as browser`, connected until then."""

    def __init__(
        self,
        address: str,
        user_id: str,
        *,
        cursor: str | None = None,
        audience: str | None = None,
        retry_s: float = 0.1,
        patience_s: float = 20,
        source: str | None = None,
    ) -> None:
        """`retry_s`: the longest pause before it connects again. `patience_s`: how often it pings, and how
        long it waits for an answer, also of a handshake. `source`: its own address."""
        self.user_id = user_id
        self.journal = Journal()
        self.cursor = cursor
        self._address = address
        self._retry_s = retry_s
        self._patience_s = patience_s
        self._source = source
        self._claims = {} if audience is None else {"aud": audience}
        self._welcomed = asyncio.Event()
        self._got_more = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._socket: ClientConnection | None = None

    async def __aenter__(self) -> "Browser":
        self.open()
        await self.welcomed()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def open(self) -> None:
        """Connect, and reconnect whenever the connection ends."""
        self._task = asyncio.create_task(self._run())

    async def welcomed(self) -> None:
        """Wait for its first welcome: what is published from then on comes to it. Raises `TimeoutError`."""
        async with asyncio.timeout(PATIENCE_S):
            await self._welcomed.wait()

    async def close(self) -> None:
        """Close the tab; the journal and the cursor stay."""
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task
            self._task = None

    def cut(self) -> None:
        """Lose the network for a moment."""
        if self._socket is not None:
            self._socket.transport.abort()

    async def wait_for(self, count: int) -> None:
        """Wait until there are `count` notifications; returns after `PATIENCE_S` in any case."""
        deadline = monotonic() + PATIENCE_S
        while len(self.journal.notifications) < count and (left := deadline - monotonic()) > 0:
            self._got_more.clear()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._got_more.wait(), left)

    async def _run(self) -> None:
        while True:
            with suppress(ConnectionClosed, InvalidHandshake, InvalidMessage, OSError, TimeoutError):
                await self._listen()
            self._socket = None
            await asyncio.sleep(random.uniform(0.2, 1) * self._retry_s)

    async def _listen(self) -> None:
        query = "" if self.cursor is None else f"?cursor={self.cursor}"
        protocols: Any = ["doorstep.v1", f"bearer.{token_for(self.user_id, claims=self._claims)}"]
        async with connect(
            f"ws://{self._address}/v1/ws{query}",
            subprotocols=protocols,
            compression=None,
            max_size=None,
            ping_interval=self._patience_s,
            ping_timeout=self._patience_s,
            open_timeout=self._patience_s,
            close_timeout=self._patience_s,
            local_addr=None if self._source is None else (self._source, 0),
        ) as self._socket:
            async for message in self._socket:
                self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if message["event"] == "doorstep.welcome":
            self.journal.connects += 1
            self._welcomed.set()
            if message["data"]["reset"] is not None:
                self.journal.resets.append(message["data"]["reset"])
        elif message["event"] == "doorstep.reconnect":
            self.journal.gone.append(monotonic())
        elif message["event"] == "doorstep.reset":
            self.journal.resets.append(message["data"]["reason"])
        elif "seq" in message:
            self.journal.notifications.append(message)
            self.journal.times.append(monotonic())
            self._got_more.set()
        self.cursor = message.get("cursor", self.cursor)

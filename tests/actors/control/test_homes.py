"""Cells without Ray, on a real Valkey: their ports, holders and sockets, and who is at home where."""

import asyncio
import contextlib
import json
import re
import secrets
import urllib.request
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from doorstep.actors.control import homes as homes_module
from doorstep.actors.control.homes import Homes, Word
from doorstep.actors.holding.holder import Holder
from doorstep.actors.placement.cell import Cell
from doorstep.actors.placement.homes import home_of, slots_at
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.slots import SLOTS, slot_of
from doorstep.actors.store import living_cells
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import connect as connect_redis
from doorstep.config.settings import Settings, load_settings
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.port import PublicPort
from tests.actors.store.helpers import stamp
from tests.support.names import Names
from tests.support.servers import ValkeyServer
from tests.support.service import SECRET, token_for
from tests.support.waiting import PATIENCE_S

HOLDERS = 2
HEARD_MS = 1_500


class Node:
    """A cell: a public port, holders, and the homes as each of them knows them."""

    def __init__(self, name: str, settings: Settings, run: RunDirectory) -> None:
        self.name = name
        self.word: Word | None = "here"
        self._cell = Cell.of(name, HOLDERS)
        self.holders = [Holder(each, settings, self._cell, run) for each in self._cell.holders]
        self.homes = Homes(settings, lambda: name, word=self._say)
        of_holders = [Homes(settings, lambda: name, each.be_home_of) for each in self.holders]
        self._looking = [asyncio.create_task(each.run()) for each in (self.homes, *of_holders)]
        self._port = PublicPort(
            settings.gateway,
            Authenticator(settings.auth),
            lambda user_id: [run.socket_of(each) for each in self._cell.holders_of(user_id)],
            {},
            self.homes.home_of,
        )
        self.port = 0

    async def _say(self) -> Word | None:
        return self.word

    async def start(self) -> None:
        """Take sockets."""
        self.port = await self._port.start()

    async def die(self) -> None:
        """All at once, without a word to anybody but those whose sockets end."""
        await self._port.stop()
        for each in self._looking:
            each.cancel()
        await asyncio.wait(self._looking)
        for holder in self.holders:
            await holder.stop(0.2)

    async def slots(self) -> int:
        """How many its holders listen to."""
        return sum([(await holder.status()).slots for holder in self.holders])


class Site:
    """Cells that have the same logs."""

    def __init__(self, settings: Settings, run: RunDirectory, log: Log) -> None:
        self.nodes: dict[str, Node] = {}
        self._settings = settings
        self._run = run
        self._log = log

    async def add(self, name: str) -> Node:
        """One cell more, which takes sockets."""
        self.nodes[name] = node = Node(name, self._settings, self._run)
        await node.start()
        return node

    async def lose(self, name: str) -> None:
        """One cell less."""
        await self.nodes.pop(name).die()

    async def settled(self) -> None:
        """Until every cell listens to the slots at home there, and no others."""
        names = self.nodes.keys()
        async with asyncio.timeout(PATIENCE_S):
            for name, node in self.nodes.items():
                while await node.slots() != len(slots_at(name, names)):  # noqa: ASYNC110 - nobody tells
                    await asyncio.sleep(0.02)

    async def append(self, user_id: str) -> None:
        """A notification."""
        await self._log.append([(user_id, secrets.token_bytes(8), b'{"event":"e"}')])

    async def home_by(self, asked: str, user_id: str) -> str:
        """The node that a gateway names to a user."""
        headers = {"Authorization": f"Bearer {token_for(user_id)}"}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.nodes[asked].port}/v1/endpoint", headers=headers
        )
        answer = await asyncio.to_thread(urllib.request.urlopen, request)
        named = re.fullmatch(r"ws://(.*)\.test/v1/ws", json.loads(answer.read())["url"])
        assert named is not None
        return named[1]


class Device:
    """A browser of a user: comes back with its cursor to wherever it is sent; what it got."""

    def __init__(self, site: Site, user_id: str) -> None:
        self.seen: list[int] = []
        self.connects = 0
        self._site = site
        self._user_id = user_id
        self._cursor = ""
        self._running: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def at(self, node: str | None = None) -> AsyncIterator["Device"]:
        """Connected to this node, or to its home whichever that is, as long as the block runs."""
        self._running = asyncio.create_task(self._stay_connected(node))
        await self.until(connects=1)
        yield self
        self._running.cancel()
        await asyncio.wait([self._running])

    async def until(self, *, connects: int = 0, seen: int = 0) -> None:
        """Wait for so many connections, or notifications."""
        async with asyncio.timeout(PATIENCE_S):
            while self.connects < connects or len(self.seen) < seen:  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)

    async def _stay_connected(self, node: str | None) -> None:
        while True:
            with contextlib.suppress(OSError, ConnectionClosed):
                anybody = next(iter(self._site.nodes))
                where = node or await self._site.home_by(anybody, self._user_id)
                port = self._site.nodes[where].port if where in self._site.nodes else 9
                headers = {"Authorization": f"Bearer {token_for(self._user_id)}"}
                url = f"ws://127.0.0.1:{port}/v1/ws?cursor={self._cursor}"
                async with connect(
                    url, additional_headers=headers, subprotocols=[Subprotocol("doorstep.v1")]
                ) as ws:
                    await self._read(ws)
            await asyncio.sleep(0.1)

    async def _read(self, ws: ClientConnection) -> None:
        async for text in ws:
            message: Any = json.loads(text)
            if message["event"] == "doorstep.welcome":
                self.connects += 1
                self._cursor = message["data"]["cursor"]
            elif "seq" in message:
                self.seen.append(message["seq"])
                self._cursor = message["cursor"]


@pytest.fixture
async def site(valkey: ValkeyServer, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Site]:
    """Three cells that know of each other."""
    monkeypatch.setattr(living_cells, "_HEARD_MS", HEARD_MS)
    monkeypatch.setattr(homes_module, "_LOOK_S", 0.2)
    gateway = {"public_url": "ws://{node}.test", "holder_wait_s": 0.5}
    settings = load_settings(None, redis={"url": valkey.url}, auth={"hs256_secret": SECRET}, gateway=gateway)
    settings = settings.model_copy(update={"gateway": settings.gateway.model_copy(update={"port": 0})})
    connection = connect_redis(settings.redis)
    await stamp(connection)
    site = Site(settings, RunDirectory(run_dir), Log(connection, settings.history))
    for name in ("a", "b", "c"):
        await site.add(name)
    await site.settled()
    yield site
    for name in list(site.nodes):
        await site.lose(name)
    await connection.close()


def user_at(home: str, site: Site, names: Names) -> str:
    """A user whose home is this cell."""
    users = (names.user(number) for number in range(100))
    return next(user for user in users if home_of(user, site.nodes) == home)


async def counted(holders: Sequence[Holder], name: str) -> float:
    """What they have counted together."""
    samples = [sample for each in holders for family in await each.metrics() for sample in family.samples]
    return sum(sample.value for sample in samples if sample.name == name)


async def test_each_cell_names_the_home_and_listens_to_its_share(site: Site, names: Names) -> None:
    assert sum([await node.slots() for node in site.nodes.values()]) == SLOTS
    for number in range(10):
        user = names.user(number)
        home = home_of(user, site.nodes)
        assert {await site.home_by(asked, user) for asked in site.nodes} == {home}

    user = user_at("b", site, names)
    async with Device(site, user).at() as device:
        await site.append(user)
        await device.until(seen=1)
        assert await counted(site.nodes["b"].holders, "doorstep_connections") == 1
        await site.settled()
    heard = {name: await counted(node.holders, "doorstep_pushes_total") for name, node in site.nodes.items()}
    assert heard == {"a": 0, "b": 1, "c": 0}


async def test_a_guest_gets_everything_and_stays_while_cells_come_and_go(site: Site, names: Names) -> None:
    """Also who becomes one: the user's home moves to a newcomer, and back."""
    users = (names.user(number) for number in range(1000))
    user = next(
        user for user in users if (home_of(user, site.nodes), home_of(user, {*site.nodes, "d"})) == ("b", "d")
    )
    async with Device(site, user).at("a") as guest, Device(site, user).at() as at_home:
        assert await site.nodes["a"].slots() == len(slots_at("a", site.nodes)) + 1
        for number in range(1, 40):
            await site.append(user)
            if number == 10:
                await site.add("d")
            if number == 20:
                await site.lose("c")
            if number == 30:
                await site.lose("d")
            await asyncio.sleep(0.1)
        for device in (guest, at_home):
            await device.until(seen=39)
            assert device.seen == [*range(1, 40)]
            assert device.connects == 1
        for node in site.nodes.values():
            assert await counted(node.holders, "doorstep_audit_repairs_total") == 0, "a push was lost"


async def test_the_homes_of_a_cell_that_dies_move_and_nothing_is_lost(site: Site, names: Names) -> None:
    user = user_at("b", site, names)
    async with Device(site, user).at() as device:
        for number in range(1, 30):
            await site.append(user)
            if number == 5:
                await site.lose("b")
            await asyncio.sleep(0.1)
        await device.until(connects=2, seen=29)
        assert device.seen == [*range(1, 30)]
        now = home_of(user, site.nodes)
        assert {await site.home_by(asked, user) for asked in site.nodes} == {now} != {"b"}
        await site.settled()
        assert sum([await node.slots() for node in site.nodes.values()]) == SLOTS


async def test_a_cell_that_takes_nobody_is_not_named_and_who_is_there_stays(site: Site, names: Names) -> None:
    user = user_at("b", site, names)
    async with Device(site, user).at() as device:
        site.nodes["b"].word = "gone"
        async with asyncio.timeout(PATIENCE_S):
            while "b" in {await site.home_by(asked, user) for asked in site.nodes}:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        await site.append(user)
        await device.until(seen=1)
        assert device.connects == 1


async def test_without_redis_homes_stay_and_are_not_named_for_long(
    site: Site, names: Names, monkeypatch: pytest.MonkeyPatch, valkey: ValkeyServer
) -> None:
    """And where Redis has lost who lives, everybody listens to everything until it is said again."""
    user = user_at("b", site, names)
    monkeypatch.setattr(homes_module, "_TRUST_S", 0.5)
    with redis.Redis.from_url(valkey.url) as client:
        client.set("doorstep:{spec}:cells", "not ours")  # what can't be read, as if it were away
        await asyncio.sleep(0.7)
        assert site.nodes["a"].homes.home_of(user) is None
        await site.settled()
        client.delete("doorstep:{spec}:cells")
    async with asyncio.timeout(PATIENCE_S):
        while site.nodes["a"].homes.home_of(user) != "b":  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.05)
    await site.settled()


async def test_a_node_without_a_name_listens_to_everything_and_names_others(
    site: Site, names: Names, valkey: ValkeyServer
) -> None:
    def nameless() -> str:
        raise ValueError("injected")

    moved: list[frozenset[int]] = []
    settings = load_settings(None, redis={"url": valkey.url})
    homes = Homes(settings, nameless, moved.append)
    looking = asyncio.create_task(homes.run())
    user = names.user()
    async with asyncio.timeout(PATIENCE_S):
        while homes.home_of(user) is None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.02)
    assert homes.home_of(user) == home_of(user, site.nodes)
    assert moved == []
    assert slot_of(user) in slots_at(home_of(user, site.nodes) or "", site.nodes)
    looking.cancel()
    await asyncio.wait([looking])

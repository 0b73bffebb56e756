"""Three masters in cluster mode: the same promises, wherever a key is, and while it moves."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from doorstep.actors.placement.slots import SLOTS, slot_of
from doorstep.actors.records import StoredRecord
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Connection, command
from doorstep.actors.store.redis.cluster import hash_slot
from doorstep.actors.store.redis.connection import check_server, connect
from doorstep.actors.store.redis.errors import StoreLost, StoreMisconfigured, StoreUnavailable
from doorstep.actors.store.rights import check_rights
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Canary, Page, Parking, Want
from doorstep.config.settings import ContextSettings, HistorySettings
from doorstep.development.ports import free_port
from doorstep.development.valkey import ValkeyProcess
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import (
    START,
    append,
    by_slot,
    entry,
    keys_of,
    log_key,
    offsets_in,
    read,
    redis_settings,
    stamp,
)
from tests.actors.store.owner import Owner
from tests.support.servers import ValkeyServer
from tests.support.valkey import ValkeyCluster
from tests.support.waiting import PATIENCE_S

USERS = [f"user-{number}" for number in range(600)]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """A cluster for the tests here that leave it whole."""
    cluster = ValkeyCluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def nodes(cluster: ValkeyCluster) -> Iterator[Sequence[Eyes]]:
    """Commands to each of the masters, which are emptied first."""
    nodes = [Eyes(node.url) for node in cluster.nodes]
    for node in nodes:
        node("FLUSHALL")
        node("SCRIPT", "FLUSH")
    yield nodes
    for node in nodes:
        node.close()


@pytest.fixture
async def clustered(nodes: Sequence[Eyes]) -> AsyncIterator[Connection]:
    """The store's connection to the emptied cluster."""
    connection = connect(redis_settings(nodes[0].url, cluster=True))
    await stamp(connection)
    yield connection
    await connection.close()


@pytest.mark.parametrize(
    ("key", "slot"),
    [("123456789", 0x31C3), ("foo{hash_tag}", 2515), ("foo{}{bar}", 8363), ("foo{{bar}}zap", 4015)],
)
def test_hash_slots_are_those_of_the_specification(key: str, slot: int) -> None:
    assert hash_slot(key) == slot


async def test_hash_slots_are_those_of_the_server(nodes: Sequence[Eyes]) -> None:
    for key in ("d:{s17}:log:ü}", "d:{b:}}:user", "d:{b:a{b}c}:user", "{", "}{a}", "a{b"):
        assert hash_slot(key) == nodes[0]("CLUSTER", "KEYSLOT", key)


async def test_append_and_read_on_all_masters(clustered: Connection, nodes: Sequence[Eyes]) -> None:
    log = Log(clustered, HistorySettings())
    entries = [entry(user, key) for key in "ab" for user in USERS]
    assert await log.append(entries) == 2 * len(USERS)
    assert await log.append(entries) == 0
    pages = [page for page in await log.read([Want(user, START, 10) for user in USERS]) if page]
    assert len(pages) == len(USERS)
    assert all(keys_of(page) == ["a", "b"] for page in pages)
    assert await log.heads(USERS) == [page.head for page in pages]
    assert all(node("DBSIZE") > 300 for node in nodes)


async def test_every_slot_has_the_stamp_whatever_a_master_loses(
    clustered: Connection, nodes: Sequence[Eyes]
) -> None:
    async def ids() -> set[bytes]:
        calls = [command("HGET", clustered.keys.stamp(slot), "id") for slot in range(SLOTS)]
        return set(await clustered.run(calls))

    assert await ids() == {START.digest.encode()}
    for lost in nodes:
        lost("FLUSHALL")
        assert await Stamp(clustered).ensure() == START.digest
        assert await ids() == {START.digest.encode()}
    for lost in nodes:
        lost("FLUSHALL")
    created = set(await asyncio.gather(*(Stamp(clustered).ensure() for _ in range(5))))
    assert {id_.encode() for id_ in created} == await ids() != {START.digest.encode()}


async def test_rights_are_tried_on_all_masters(clustered: Connection, nodes: Sequence[Eyes]) -> None:
    await check_rights(clustered)
    nodes[2]("ACL", "SETUSER", "default", "-xadd")
    try:
        with pytest.raises(StoreMisconfigured, match=r"\+xadd"):
            await check_rights(clustered)
    finally:
        nodes[2]("ACL", "SETUSER", "default", "+xadd")


async def test_feeds_of_all_masters(clustered: Connection, nodes: Sequence[Eyes]) -> None:
    owner = Owner(clustered)
    owner.start()
    await owner.feed.subscribe(range(SLOTS))
    await Log(clustered, HistorySettings()).append([entry(user, "a") for user in USERS])
    await owner.until(pushes=len(by_slot(USERS)))
    users = {slot: [user.decode() for user, *_ in push] for slot, push in owner.pushes}
    assert users == by_slot(USERS)
    nodes[1]("CLIENT", "KILL", "TYPE", "pubsub")
    await owner.until(events=["subscribed", "lost", "subscribed"])
    owner.feed.unsubscribe(range(1, SLOTS))
    await owner.feed.subscribe([1])
    await owner.stop()


async def test_contexts_on_all_masters(clustered: Connection) -> None:
    contexts = Contexts(clustered, ContextSettings(park_ttl_s=900))
    waiting = [
        (f"batch-{number % 50}", StoredRecord("t", 0, number, None, b"v", ())) for number in range(100)
    ]
    assert await contexts.resolve_or_park(waiting) == [Parking.PARKED] * 100
    for number in range(0, 50, 2):
        assert await contexts.register(f"batch-{number}", f"user-{number}") == "new"
    known = {f"batch-{number}": f"user-{number}" for number in range(0, 50, 2)}
    assert await contexts.lookup([f"batch-{number}" for number in range(50)]) == known
    assert set(await contexts.orphans()) == known.keys()
    for batch in known:
        sources = [each.record.identity for each in await contexts.parked(batch, 10)]
        assert len(sources) == 2
        assert await contexts.unpark(batch, sources) == 0
    assert await contexts.total() == 50
    assert await contexts.resolve_or_park(waiting[:2]) == ["user-0", Parking.PARKED]


async def test_each_master_vouches_for_its_own_marks(clustered: Connection, nodes: Sequence[Eyes]) -> None:
    checkpoints = Checkpoints(clustered)
    await checkpoints.write("g", {("t", 0): 5, ("t", 1): 6})
    assert await offsets_in(checkpoints, "g") == {("t", 0): 5, ("t", 1): 6}
    for key in nodes[2]("KEYS", "*"):
        nodes[2]("HSET", key, "t/0", 3)
        nodes[2]("HDEL", key, "t/1")
    assert await offsets_in(checkpoints, "g") == {("t", 0): 3}
    nodes[1]("FLUSHALL")
    assert await offsets_in(checkpoints, "g") == {}
    identity = await checkpoints.server_identity()
    assert len(set(identity.split(","))) == 3


async def test_marks_advance_on_masters_that_lost_nothing(
    clustered: Connection, nodes: Sequence[Eyes]
) -> None:
    checkpoints = Checkpoints(clustered)
    canary = Canary("g", ("!me", 0), 1)
    await checkpoints.write("g", {canary.partition: 1, ("t", 0): 5})
    identity = await checkpoints.server_identity()
    following = await checkpoints.advance({("t", 0): 6}, identity, canary)
    assert await offsets_in(checkpoints, "g") == {canary.partition: 2, ("t", 0): 6}
    for key in nodes[1]("KEYS", "*"):
        nodes[1]("HSET", key, "!me/0", 1)
    with pytest.raises(StoreLost):
        await checkpoints.advance({("t", 0): 7}, identity, following)
    assert await offsets_in(checkpoints, "g") == {canary.partition: 1, ("t", 0): 6}


async def test_check(clustered: Connection) -> None:
    await check_server(clustered)


async def test_one_server_is_no_cluster(valkey: ValkeyServer) -> None:
    connection = connect(redis_settings(valkey.url, cluster=True))
    with pytest.raises(StoreUnavailable, match="not a node of a cluster"):
        await connection.run_one(command("GET", "x"))
    await connection.close()


# What needs a cluster of its own


async def test_a_slot_that_moves_under_load(valkey_cluster: ValkeyCluster) -> None:
    """By keys, one after the other, as resharding does it: nothing is lost, doubled or renumbered."""
    user = USERS[0]
    connection = connect(redis_settings(valkey_cluster.url, cluster=True))
    await stamp(connection)
    owner, log = Owner(connection), Log(connection, HistorySettings())
    owner.start()
    await owner.feed.subscribe([slot_of(user)])
    enough = asyncio.Event()
    appending = asyncio.create_task(_append_until(log, user, enough))
    await asyncio.sleep(0.2)
    async with _moving(valkey_cluster.nodes, hash_slot(log_key(user))):
        await asyncio.sleep(0.2)
    await owner.until(events=["subscribed", "lost", "subscribed"])
    await asyncio.sleep(0.2)
    enough.set()
    appended = await appending
    assert appended > 20
    page = await read(log, user, limit=appended + 1)
    assert keys_of(page) == [f"{number}" for number in range(appended)]
    assert page.head.seq == appended
    await owner.until(pushes=1)
    assert owner.seen()[-1] == (user, appended)
    await owner.stop()
    await connection.close()


async def test_who_knows_nothing_of_a_move_is_led_there(valkey_cluster: ValkeyCluster) -> None:
    user = USERS[0]
    connection = connect(redis_settings(valkey_cluster.url, cluster=True))
    await stamp(connection)
    log = Log(connection, HistorySettings())
    await append(log, user, "a")
    async with _moving(valkey_cluster.nodes, hash_slot(log_key(user))):
        assert keys_of(await read(log, user)) == ["a"]  # by ASK
    assert await append(log, user, "a", "b") == (1, 2)  # by MOVED
    await connection.close()


async def _append_until(log: Log, user: str, done: asyncio.Event) -> int:
    """Append one after the other, each until it has succeeded; returns how many."""
    number = 0
    while not done.is_set():
        with suppress(StoreUnavailable):
            await log.append([entry(user, f"{number}")])
            number += 1
        await asyncio.sleep(0.002)
    return number


@asynccontextmanager
async def _moving(nodes: Sequence[ValkeyProcess], slot: int) -> AsyncIterator[None]:
    """Move a hash slot to the next master, slowly. Meanwhile all keys are there, and nobody was told."""
    eyes = [Eyes(node.url) for node in nodes]
    owner = next(i for i, node in enumerate(eyes) if _serves(node, slot))
    source, target = eyes[owner], eyes[(owner + 1) % len(eyes)]
    source_id, target_id = source("CLUSTER", "MYID").decode(), target("CLUSTER", "MYID").decode()
    target("CLUSTER", "SETSLOT", slot, "IMPORTING", source_id)
    source("CLUSTER", "SETSLOT", slot, "MIGRATING", target_id)
    await asyncio.sleep(0.1)
    port = nodes[(owner + 1) % len(nodes)].port
    while keys := source("CLUSTER", "GETKEYSINSLOT", slot, 1):
        source("MIGRATE", "127.0.0.1", port, keys[0], 0, 5000)
        await asyncio.sleep(0.1)
    yield
    for node in (target, source, *eyes):
        node("CLUSTER", "SETSLOT", slot, "NODE", target_id)
    for node in eyes:
        node.close()


def _serves(node: Eyes, slot: int) -> bool:
    me = node("CLUSTER", "MYID")
    ranges = node("CLUSTER", "SLOTS")
    return any(first <= slot <= last and master[2] == me for first, last, master, *_ in ranges)


async def _pages_after_another_append(log: Log) -> Sequence[Page]:
    """Append to everybody as soon as all masters are there; what is in everybody's log then."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StoreUnavailable):
                await log.append([entry(user, "b") for user in USERS])
                break
            await asyncio.sleep(0.1)
    pages = [page for page in await log.read([Want(user, START, 10) for user in USERS]) if page]
    assert len(pages) == len(USERS)
    return pages


async def test_a_master_that_is_gone(valkey_cluster: ValkeyCluster) -> None:
    connection = connect(redis_settings(valkey_cluster.url, cluster=True, timeout_s=1))
    await stamp(connection)
    log, eyes = Log(connection, HistorySettings()), Eyes(valkey_cluster.nodes[2].url)
    eyes("CONFIG", "SET", "appendfsync", "always")  # or it would die with what it acknowledged
    await log.append([entry(user, "a") for user in USERS])
    valkey_cluster.nodes[2].stop(kill=True)
    with pytest.raises(StoreUnavailable):
        await log.append([entry(user, "b") for user in USERS])
    valkey_cluster.nodes[2].start()
    pages = await _pages_after_another_append(log)
    assert {tuple(keys_of(page)) for page in pages} == {("a", "b")}
    await connection.close()
    eyes.close()


@pytest.mark.slow
async def test_a_replica_that_takes_over(valkey_cluster: ValkeyCluster, tmp_path: Path) -> None:
    lost, bus = valkey_cluster.nodes[2], free_port()
    replica = ValkeyProcess(tmp_path, {"cluster-enabled": "yes", "cluster-port": str(bus)})
    replica.start()
    everyone = [Eyes(node.url) for node in (*valkey_cluster.nodes, replica)]
    everyone[2]("CLUSTER", "MEET", "127.0.0.1", replica.port, bus)
    _follow(replica, everyone[3], everyone[2])
    for node in everyone:
        node("CONFIG", "SET", "cluster-node-timeout", 1000)
    connection = connect(redis_settings(valkey_cluster.url, cluster=True, timeout_s=2))
    await stamp(connection)
    log, checkpoints = Log(connection, HistorySettings()), Checkpoints(connection)
    await log.append([entry(user, "a") for user in USERS])
    await checkpoints.write("g", {("t", 0): 5})
    identity = await checkpoints.server_identity()
    everyone[2]("WAIT", 1, 5000)
    lost.stop(kill=True)
    pages = await _pages_after_another_append(log)
    assert all(keys_of(page) == ["a", "b"] for page in pages)
    assert await offsets_in(checkpoints, "g") == {("t", 0): 5}
    assert await checkpoints.server_identity() != identity
    await connection.close()
    for node in everyone:
        node.close()
    replica.stop()


def _follow(process: ValkeyProcess, replica: Eyes, master: Eyes) -> None:
    """Make a node the replica of a master that it has met, and wait until it is in step."""
    wait, wanted = process.process.wait_until, master("CLUSTER", "MYID")
    wait(lambda: bool(wanted in replica("CLUSTER", "NODES")), what="the meeting", timeout_s=PATIENCE_S)
    replica("CLUSTER", "REPLICATE", wanted)
    wait(lambda: bool(replica("ROLE")[3] == b"connected"), what="the replica", timeout_s=PATIENCE_S)

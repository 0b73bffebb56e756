"""A master, its replica and a sentinel: who the master is, and who it is after a failover."""

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import redis

from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.config.settings import HistorySettings
from doorstep.development.ports import free_port
from doorstep.development.processes import ServerProcess
from doorstep.development.valkey import BINARY, ValkeyProcess
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import append, keys_of, know, offsets_in, read, redis_settings, stamp
from tests.actors.store.owner import Owner
from tests.support.waiting import PATIENCE_S


@dataclass
class Watched:
    """A master and its replica, watched by a sentinel as `notes`."""

    sentinel_port: int
    master: ValkeyProcess
    replica: ValkeyProcess

    def connect(self, service: str = "notes") -> Connection:
        """The first sentinel of the URL is not there."""
        hosts = f"127.0.0.1:{free_port()},127.0.0.1:{self.sentinel_port}"
        return connect(redis_settings(f"redis+sentinel://{hosts}/{service}?db=1", timeout_s=2))

    def wait_for_replica(self) -> None:
        """Until it has all that was written before: what one client writes now comes after that."""
        with contextlib.closing(Eyes(self.master.url)) as eyes:
            eyes("SET", "written", "last")
            assert eyes("WAIT", 1, 20_000) == 1


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    """A master with a replica that is in step."""
    master, replica = (_server(tmp_path / name) for name in ("master", "replica"))
    master.start()
    replica.start()
    eyes = Eyes(replica.url)
    eyes("REPLICAOF", "127.0.0.1", master.port)
    port = free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\n"
        f"sentinel monitor notes 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds notes 500\nsentinel failover-timeout notes 3000\n"
    )
    sentinel = ServerProcess([BINARY, str(config), "--sentinel"], log=tmp_path / "sentinel.log")
    sentinel.start()
    asking = Eyes(f"redis://127.0.0.1:{port}")
    sentinel.wait_until(lambda: _knows_replica(asking), what="the sentinel", timeout_s=PATIENCE_S)
    sentinel.wait_until(
        lambda: bool(eyes("ROLE")[3] == b"connected"), what="the replica", timeout_s=PATIENCE_S
    )
    yield Watched(port, master, replica)
    for each in (sentinel, master, replica):
        each.stop()
    eyes.close()
    asking.close()


def _server(directory: Path) -> ValkeyProcess:
    directory.mkdir()
    return ValkeyProcess(directory, {"repl-diskless-sync-delay": "0"})


def _knows_replica(sentinel: Eyes) -> bool:
    with suppress(redis.RedisError):  # not listening yet
        return len(sentinel("SENTINEL", "REPLICAS", "notes")) == 1
    return False


async def test_the_master_is_found_and_found_again_after_a_failover(watched: Watched) -> None:
    connection = watched.connect()
    await stamp(connection)
    owner, log, checkpoints = Owner(connection), Log(connection, HistorySettings()), Checkpoints(connection)
    owner.start()
    await owner.feed.subscribe(range(256))
    await append(log, "u", "a")
    await checkpoints.write("g", {("t", 0): 1})
    await owner.until(pushes=1)
    identity = await checkpoints.server_identity()
    watched.wait_for_replica()
    watched.master.stop(kill=True)
    async with asyncio.timeout(PATIENCE_S):
        while True:
            with suppress(StoreUnavailable):
                await know(connection)
                await append(log, "u", "a", "b")
                break
            await asyncio.sleep(0.1)
    assert keys_of(await read(log, "u")) == ["a", "b"]
    assert await checkpoints.server_identity() != identity
    assert await offsets_in(checkpoints, "g") == {("t", 0): 1}
    await owner.until(events=["subscribed", "lost", "subscribed"])
    await append(log, "u", "c")
    await owner.until(pushes=2)
    assert owner.seen()[-1] == ("u", 3)
    await owner.stop()
    await connection.close()


async def test_a_service_that_nobody_watches(watched: Watched) -> None:
    connection = watched.connect("unheard")
    complaint = r"no sentinel knows the master of 'unheard': .*does not know it"
    with pytest.raises(StoreUnavailable, match=complaint):
        await append(Log(connection, HistorySettings()), "u", "a")
    await connection.close()


async def test_a_server_that_is_no_sentinel(watched: Watched) -> None:
    connection = connect(redis_settings(f"redis+sentinel://127.0.0.1:{watched.master.port}/notes"))
    with pytest.raises(StoreUnavailable, match="refused to answer"):
        await append(Log(connection, HistorySettings()), "u", "a")
    await connection.close()

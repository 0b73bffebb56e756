"""The ways to a real server, and the checks before anything is written to it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Call, Connection, command
from doorstep.actors.store.redis.connection import check_server, connect
from doorstep.actors.store.redis.errors import StoreError, StoreMisconfigured, StoreUnavailable
from doorstep.config.settings import HistorySettings, RedisSettings
from doorstep.development.ports import free_port
from doorstep.development.valkey import ValkeyProcess
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import append, keys_of, read, redis_settings, stamp
from tests.conftest import ValkeyFactory
from tests.support.certificates import Certificates, make_certificates
from tests.support.servers import ValkeyServer
from tests.support.valkey import TlsValkey
from tests.support.waiting import a_while, until


@asynccontextmanager
async def open_to(settings: RedisSettings) -> AsyncIterator[Connection]:
    connection = connect(settings)
    yield connection
    await connection.close()


async def works(connection: Connection) -> bool:
    await stamp(connection)
    log = Log(connection, HistorySettings())
    await append(log, "u", "a")
    return keys_of(await read(log, "u")) == ["a"]


async def test_every_answer_is_timed(valkey: ValkeyServer) -> None:
    took: list[float] = []
    connection = connect(redis_settings(valkey.url), took.append)
    await connection.run_one(command("GET", "x"))
    assert len(took) == 1
    assert 0 < took[0] < 5
    nobody = connect(redis_settings("redis://127.0.0.1:1"), took.append)
    with pytest.raises(StoreUnavailable):
        await nobody.run_one(command("GET", "x"))
    assert len(took) == 1
    await connection.close()


async def test_tls(tls_valkey: TlsValkey) -> None:
    settings = RedisSettings(url=SecretStr(tls_valkey.url), ssl_ca_certs=tls_valkey.authority)
    async with open_to(settings) as connection:
        assert await works(connection)


async def test_tls_with_a_foreign_authority(tls_valkey: TlsValkey, tmp_path: Path) -> None:
    foreign: Certificates = make_certificates(tmp_path)
    settings = RedisSettings(url=SecretStr(tls_valkey.url), ssl_ca_certs=foreign.authority)
    async with open_to(settings) as connection:
        with pytest.raises(StoreUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            await works(connection)


async def test_tls_with_a_server_that_speaks_none(valkey: ValkeyServer) -> None:
    url = valkey.url.replace("redis://", "rediss://")
    async with open_to(RedisSettings(url=SecretStr(url), timeout_s=0.5)) as connection:
        with pytest.raises(StoreUnavailable, match=r"no answer within 0.5 s; perhaps it speaks no TLS"):
            await works(connection)


async def test_no_tls_with_a_server_that_wants_it(tls_valkey: TlsValkey) -> None:
    async with open_to(redis_settings(tls_valkey.url.replace("rediss://", "redis://"))) as connection:
        with pytest.raises(StoreUnavailable, match=r"it closed the connection; perhaps it wants TLS"):
            await works(connection)


@pytest.mark.valkey
async def test_a_unix_socket(tmp_path: Path) -> None:
    server = ValkeyProcess(tmp_path, {"unixsocket": str(tmp_path / "s")})
    server.start()
    try:
        async with open_to(redis_settings(f"unix://{tmp_path}/s?db=2")) as connection:
            assert await works(connection)
        assert server.client().dbsize() == 0
    finally:
        server.stop()


async def test_nothing_is_opened_before_it_is_needed() -> None:
    async with open_to(redis_settings("redis://nowhere.invalid")) as connection:
        assert await connection.run([]) == []
        with pytest.raises(StoreUnavailable):
            await connection.run_one(command("PING", "x"))


async def test_it_is_opened_once_and_again_after_a_loss(connection: Connection, eyes: Eyes) -> None:
    await asyncio.gather(*(connection.run_one(command("GET", "x")) for _ in range(20)))
    assert len(_links(eyes)) == 1
    eyes("CLIENT", "KILL", "TYPE", "normal")
    await until(lambda: _links(eyes) == [])
    await a_while(0.05)  # until it has read of it
    await asyncio.gather(*(connection.run_one(command("GET", "x")) for _ in range(20)))
    assert len(_links(eyes)) == 1


async def test_closed_while_it_is_opened(connection: Connection, eyes: Eyes) -> None:
    opening = asyncio.create_task(connection.run_one(command("GET", "x")))
    await asyncio.sleep(0)
    await connection.close()
    with pytest.raises(StoreUnavailable, match="dropped"):
        await opening
    await until(lambda: _links(eyes) == [])


def _links(eyes: Eyes) -> list[bytes]:
    return [line for line in eyes("CLIENT", "LIST").splitlines() if "name=doorstep" in str(line)]


async def test_a_refused_call_names_the_key_and_the_others_were_carried_out(
    connection: Connection, eyes: Eyes
) -> None:
    calls = [command("SET", "a", 1), command("LPUSH", "a", 1), command("SET", "b", 1)]
    with pytest.raises(StoreError, match="to a: WRONGTYPE") as caught:
        await connection.run(calls)
    assert not isinstance(caught.value, StoreUnavailable)
    assert eyes("EXISTS", "a", "b") == 2


@pytest.mark.parametrize(
    "said", ["LOADING later", "-OOM in a script", "ERR Error running script: @user_script:3: -MISCONF disk"]
)
async def test_what_may_pass_is_unavailable(connection: Connection, said: str) -> None:
    fails = Call("x", ("EVAL", "return redis.error_reply(ARGV[1])", 0, said))
    with pytest.raises(StoreUnavailable):
        await connection.run_one(fails)


async def test_a_password_that_was_changed(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    eyes = Eyes(server.url)
    async with open_to(redis_settings(server.url)) as connection:
        eyes("ACL", "SETUSER", "default", "-set")
        with pytest.raises(StoreUnavailable, match="NOPERM"):
            await connection.run_one(command("SET", "x", 1))
    eyes.close()


# Checks at the start


async def test_a_server_as_it_should_be(connection: Connection) -> None:
    with capture_logs() as logs:
        await check_server(connection)
    assert logs == []


async def test_a_server_that_evicts_is_refused(valkey_factory: ValkeyFactory) -> None:
    async with open_to(redis_settings(valkey_factory(maxmemory_policy="allkeys-lru").url)) as connection:
        with pytest.raises(StoreMisconfigured, match=r"allkeys-lru.*set `maxmemory-policy noeviction`"):
            await check_server(connection)


async def test_a_server_that_does_not_tell_is_warned_about(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    eyes = Eyes(server.url)
    eyes("ACL", "SETUSER", "default", "-info", "-config")
    async with open_to(redis_settings(server.url)) as connection:
        with capture_logs() as logs:
            await check_server(connection)
    assert [(log["log_level"], log["event"]) for log in logs] == [("warning", "redis_not_checked")]
    eyes.close()


async def test_a_cluster_is_refused_where_none_is_set(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory(cluster_enabled="yes", cluster_port=str(free_port()))
    async with open_to(redis_settings(server.url)) as connection:
        with pytest.raises(StoreMisconfigured, match="DOORSTEP_REDIS__CLUSTER=true"):
            await check_server(connection)


@pytest.mark.valkey
async def test_a_cluster_without_sharded_channels_is_refused(tmp_path: Path) -> None:
    """As Redis 6 is: here the command is taken away."""
    more = tmp_path / "more.conf"
    more.write_text('rename-command SPUBLISH ""')
    bus = str(free_port())
    server = ValkeyProcess(tmp_path, {"cluster-enabled": "yes", "cluster-port": bus, "include": str(more)})
    server.start()
    try:
        server.client().cluster("ADDSLOTSRANGE", 0, 16383)
        async with open_to(redis_settings(server.url, cluster=True)) as connection:
            with pytest.raises(StoreMisconfigured, match="no sharded pub/sub"):
                await check_server(connection)
    finally:
        server.stop()


async def test_no_server_to_check() -> None:
    async with open_to(redis_settings("redis://127.0.0.1:1")) as connection:
        with pytest.raises(StoreUnavailable):
            await check_server(connection)

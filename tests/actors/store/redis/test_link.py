"""One connection to one real server, and what happens to those who wait when it goes."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import hiredis
import pytest

from doorstep.actors.store.redis.errors import StoreUnavailable
from doorstep.actors.store.redis.link import Address, Link, Login, pack
from doorstep.development.ports import free_port
from tests.actors.store.conftest import Eyes
from tests.conftest import ProxyFactory, ValkeyFactory
from tests.support.servers import ValkeyServer
from tests.support.waiting import a_while, until

QUICK = Login(timeout_s=0.3)


def address_of(url: str) -> Address:
    host, _, port = url.removeprefix("redis://").partition(":")
    return Address(host, int(port))


@pytest.fixture
async def link(valkey: ValkeyServer) -> AsyncIterator[Link]:
    """A link to the shared Valkey."""
    link = await Link.open(address_of(valkey.url), Login())
    yield link
    link.close()


async def test_replies_come_in_order_errors_among_them(link: Link) -> None:
    commands = pack(("SET", "a", 1)) + pack(("LPUSH", "a", "x")) + pack(("GET", b"a"))
    ok, error, value = await link.exchange(commands, 3)
    assert (ok, value) == ("OK", b"1") or (ok, value) == (b"OK", b"1")
    assert isinstance(error, hiredis.ReplyError)
    assert str(error).startswith("WRONGTYPE")


async def test_exchanges_at_the_same_time_get_their_own_replies(link: Link) -> None:
    echoes = [link.exchange(pack(("ECHO", number)) + pack(("ECHO", "x")), 2) for number in range(200)]
    assert await asyncio.gather(*echoes) == [[b"%d" % number, b"x"] for number in range(200)]


async def test_large_replies(link: Link) -> None:
    await link.command("SET", "large", b"x" * 20_000_000)
    assert len(await link.command("GET", "large")) == 20_000_000


async def test_an_error_reply_to_a_command_is_raised(link: Link) -> None:
    with pytest.raises(hiredis.ReplyError, match="unknown command"):
        await link.command("NONSENSE")


async def test_a_caller_that_gives_up_leaves_the_link_to_the_others(link: Link) -> None:
    slow = asyncio.create_task(link.exchange(pack(("BLPOP", "nothing", 0.2)), 1))
    after = asyncio.create_task(link.exchange(pack(("ECHO", "after")), 1))
    await asyncio.sleep(0.05)
    slow.cancel()
    assert await after == [b"after"]
    assert await link.command("ECHO", "more") == b"more"


async def test_an_answer_that_does_not_come_ends_the_link_for_all(valkey: ValkeyServer) -> None:
    losses: list[StoreUnavailable] = []
    link = await Link.open(address_of(valkey.url), QUICK, on_lost=losses.append)
    waiting = [link.exchange(pack(("BLPOP", "nothing", 0)), 1), link.exchange(pack(("PING",)), 1)]
    since = time.monotonic()
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert 0.25 < time.monotonic() - since < 2
    assert [type(result) for result in results] == [StoreUnavailable, StoreUnavailable]
    assert "no answer within 0.3 s" in str(results[0])
    assert len(losses) == 1
    assert not link.is_open
    with pytest.raises(StoreUnavailable, match="no answer"):
        await link.exchange(pack(("PING",)), 1)


async def test_a_server_that_closes_fails_what_waits(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    losses: list[StoreUnavailable] = []
    link = await Link.open(address_of(server.url), Login(), on_lost=losses.append)
    waiting = asyncio.create_task(link.exchange(pack(("BLPOP", "nothing", 0)), 1))
    await asyncio.sleep(0.05)
    server.stop(kill=True)
    with pytest.raises(StoreUnavailable, match="lost Redis at"):
        await waiting
    assert len(losses) == 1


async def test_closing_is_quiet_but_tells_who_waits(valkey: ValkeyServer) -> None:
    losses: list[StoreUnavailable] = []
    link = await Link.open(address_of(valkey.url), Login(), on_lost=losses.append)
    waiting = asyncio.create_task(link.exchange(pack(("BLPOP", "nothing", 0)), 1))
    await asyncio.sleep(0)
    link.close()
    link.close()
    with pytest.raises(StoreUnavailable, match="the link was closed"):
        await waiting
    await a_while(0.05)
    assert losses == []


async def test_pushes_go_to_their_taker_and_commands_still_work(valkey: ValkeyServer, eyes: Eyes) -> None:
    pushes: list[list[Any]] = []
    link = await Link.open(address_of(valkey.url), Login(), on_push=pushes.append)
    link.send(pack(("SUBSCRIBE", "channel")))
    assert await link.command("PING") in ("PONG", b"PONG")
    eyes("PUBLISH", "channel", "hello")
    assert await link.command("ECHO", "x") == b"x"
    assert pushes == [[b"subscribe", b"channel", 1], [b"message", b"channel", b"hello"]]
    link.close()


async def test_a_taker_that_fails_ends_the_link(valkey: ValkeyServer) -> None:
    def fail(push: list[Any]) -> None:
        raise ValueError(f"can't take it: {push}")

    losses: list[StoreUnavailable] = []
    link = await Link.open(address_of(valkey.url), Login(), fail, losses.append)
    link.send(pack(("SUBSCRIBE", "channel")))
    with pytest.raises(StoreUnavailable, match="can't take it"):
        await link.exchange(pack(("PING",)), 1)
    assert isinstance(losses[0].__cause__, ValueError)


async def test_an_answer_without_a_question_ends_the_link(valkey: ValkeyServer) -> None:
    link = await Link.open(address_of(valkey.url), Login())
    link.send(pack(("PING",)))
    await until(lambda: not link.is_open)
    with pytest.raises(StoreUnavailable, match="refused what it was sent"):
        link.send(pack(("PING",)))


# Opening


async def test_nobody_listens() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await Link.open(Address("127.0.0.1", free_port()), QUICK)


async def test_a_host_that_does_not_exist() -> None:
    with pytest.raises(StoreUnavailable, match="cannot be reached"):
        await Link.open(Address("nowhere.invalid", 1), Login(timeout_s=5))


async def test_a_server_that_says_nothing(valkey: ValkeyServer, proxy_factory: ProxyFactory) -> None:
    proxy = proxy_factory(valkey.url)
    proxy.hold_replies()
    since = time.monotonic()
    with pytest.raises(StoreUnavailable):
        await Link.open(Address("127.0.0.1", proxy.port), QUICK)
    assert time.monotonic() - since < 2
    proxy.release_replies()


async def test_a_server_that_speaks_another_protocol() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await writer.drain()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(StoreUnavailable, match="Protocol error"):
        await Link.open(Address("127.0.0.1", port), QUICK)
    server.close()


async def test_logins(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    eyes = Eyes(server.url)
    eyes("ACL", "SETUSER", "ada", "on", ">secret ü", "~*", "&*", "+@all")
    eyes("CONFIG", "SET", "requirepass", "default one")
    at = address_of(server.url)
    for login in (
        Login(username="ada", password="secret ü", db=3),
        Login(password="default one"),
    ):
        link = await Link.open(at, login)
        await link.command("SET", f"by {login.username}", 1)
        link.close()
    for wrong in (Login(), Login(password="secret ü"), Login(username="ada", password="x")):
        with pytest.raises(StoreUnavailable, match=r"refused the login: (WRONGPASS|NOAUTH)"):
            await Link.open(at, wrong)
    with pytest.raises(StoreUnavailable, match="DB index"):
        await Link.open(at, Login(password="default one", db=99))
    eyes.close()

"""Accepting, and waiting while there is nothing to accept with."""

import asyncio
import os
import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from doorstep.gateway import listener as listener_module
from doorstep.gateway.listener import Listener


@contextmanager
def no_free_descriptor() -> Iterator[None]:
    """As if as many files were open as are allowed."""
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    free = os.dup(0)
    os.close(free)
    resource.setrlimit(resource.RLIMIT_NOFILE, (free, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)


@contextmanager
def listening() -> Iterator[tuple[Listener, list[socket.socket], tuple[str, int]]]:
    accepted: list[socket.socket] = []
    sock = socket.create_server(("127.0.0.1", 0), backlog=500)
    address = sock.getsockname()
    listener = Listener(sock, accepted.append, "test")
    yield listener, accepted, address
    listener.close()
    for connection in accepted:
        connection.close()


async def _until(accepted: list[socket.socket], number: int) -> None:
    async with asyncio.timeout(5):
        while len(accepted) < number:  # noqa: ASYNC110 - the kernel tells the listener, not us
            await asyncio.sleep(0.01)


async def test_everyone_gets_in_however_many_come_at_once() -> None:
    with listening() as (_, accepted, address):
        clients = [socket.create_connection(address) for _ in range(200)]
        await _until(accepted, 200)
        assert not any(connection.getblocking() for connection in accepted)
        for client in clients:
            client.close()


async def test_one_turn_accepts_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "ACCEPTS_PER_TURN", 3)
    with listening() as (_, accepted, address):
        clients = [socket.create_connection(address) for _ in range(10)]
        counts: list[int] = []
        async with asyncio.timeout(5):
            while len(accepted) < 10:
                await asyncio.sleep(0)
                counts.append(len(accepted))
        assert max(after - before for before, after in zip([0, *counts], counts, strict=False)) == 3
        for client in clients:
            client.close()


async def test_without_descriptors_it_waits_and_says_so_once(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "ACCEPT_PAUSE_S", 0.01)
    with listening() as (_, accepted, address):
        client = socket.socket()
        client.setblocking(False)
        with no_free_descriptor():
            await asyncio.get_running_loop().sock_connect(client, address)
            await asyncio.sleep(0.1)
            assert accepted == []
        await _until(accepted, 1)
        client.close()
    assert "".join(capfd.readouterr()).count("listener.accept_failed") == 1


async def test_it_can_be_closed_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "ACCEPT_PAUSE_S", 0.05)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    client = socket.socket()
    client.setblocking(False)
    with listening() as (_, accepted, address), no_free_descriptor():
        await asyncio.get_running_loop().sock_connect(client, address)
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.1)
    assert (accepted, faults) == ([], [])
    client.close()

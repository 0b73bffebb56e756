"""Accepting, and waiting while there is nothing to accept with."""

import asyncio
import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from doorstep.gateway import listener as listener_module
from doorstep.gateway.listener import Listener
from tests.support.waiting import PATIENCE_S, a_while, until


class ListeningSocket(socket.socket):
    """A real one, which says when told to that no descriptor is free. (`test_port` takes them for real.)"""

    starved = False

    def accept(self) -> tuple[socket.socket, Any]:
        if self.starved:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        return super().accept()


@contextmanager
def listening() -> Iterator[tuple[ListeningSocket, list[socket.socket], Any]]:
    accepted: list[socket.socket] = []
    sock = ListeningSocket()
    sock.bind(("127.0.0.1", 0))
    sock.listen(500)
    address = sock.getsockname()
    listener = Listener(sock, accepted.append, "test")
    yield sock, accepted, address
    listener.close()
    for connection in accepted:
        connection.close()


async def test_everyone_gets_in_however_many_come_at_once() -> None:
    with listening() as (_, accepted, address):
        clients = [socket.create_connection(address) for _ in range(200)]
        await until(lambda: len(accepted) == 200)
        assert not any(connection.getblocking() for connection in accepted)
        for client in clients:
            client.close()


async def test_one_turn_accepts_no_more_than_its_share(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "ACCEPTS_PER_TURN", 3)
    with listening() as (_, accepted, address):
        clients = [socket.create_connection(address) for _ in range(10)]
        counts: list[int] = []
        async with asyncio.timeout(PATIENCE_S):
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
    with listening() as (sock, accepted, address):
        sock.starved = True
        client = socket.create_connection(address)
        await a_while(0.1)
        assert accepted == []
        sock.starved = False
        await until(lambda: accepted)
        client.close()
    assert "".join(capfd.readouterr()).count("accept_failed") == 1


async def test_it_can_be_closed_while_it_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(listener_module, "ACCEPT_PAUSE_S", 0.05)
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    with listening() as (sock, accepted, address):
        sock.starved = True
        client = socket.create_connection(address)
        await a_while(0.02)
    await a_while(0.1)
    assert (accepted, faults) == ([], [])
    client.close()

"""One answer on a handed-over connection."""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest

from doorstep.gateway import poll
from doorstep.gateway.poll import Lingering, PollConnection
from doorstep.gateway.problem import Problem
from doorstep.gateway.traffic import Traffic
from tests.gateway.wire import Answer, parse_answer
from tests.support.waiting import PATIENCE_S, a_while


class Visit:
    """A poll's connection, its client, and whether it is gone."""

    def __init__(self, origin: str | None) -> None:
        self.gone = asyncio.Event()
        self.times_gone = 0
        self.half_closed = asyncio.Event()
        self.at_half_closed: Callable[[], None] = lambda: None
        self.traffic = Traffic()
        self.connection = PollConnection(self._on_gone, self.traffic, origin, self._on_half_closed)
        self.client = socket.socket()

    def _on_gone(self) -> None:
        self.times_gone += 1
        self.gone.set()

    def _on_half_closed(self) -> None:
        self.half_closed.set()
        self.at_half_closed()

    async def open(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.client.connect(listener.getsockname())
            ours, _ = listener.accept()
        ours.setblocking(False)
        self.client.setblocking(False)
        await asyncio.get_running_loop().connect_accepted_socket(lambda: self.connection, ours)

    async def answer(self) -> Answer:
        """What the client reads up to the end; it then closes too."""
        data = b""
        while piece := await asyncio.wait_for(
            asyncio.get_running_loop().sock_recv(self.client, 1 << 20), PATIENCE_S
        ):
            data += piece
        self.client.close()
        return parse_answer(data)

    async def end(self) -> None:
        """Wait until the connection is gone, which is told once."""
        await asyncio.wait_for(self.gone.wait(), PATIENCE_S)
        assert self.times_gone == 1


@asynccontextmanager
async def visit(origin: str | None = None) -> AsyncIterator[Visit]:
    visiting = Visit(origin)
    await visiting.open()
    yield visiting
    visiting.client.close()
    visiting.connection.answer(200, b"{}")
    await visiting.end()


async def test_an_answer_is_whole_and_closes() -> None:
    async with visit() as visiting:
        body = b'{"notifications":[' + b"1," * 200_000 + b"1]}"
        visiting.connection.answer(200, body)
        answer = await visiting.answer()
        assert (answer.status, answer.body) == (200, body)
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["connection"] == "close"
        assert "access-control-allow-origin" not in answer.headers
        await visiting.end()


async def test_a_page_of_another_origin_may_read_it() -> None:
    async with visit("https://app.test") as visiting:
        visiting.connection.answer(200, b"{}")
        assert (await visiting.answer()).headers["access-control-allow-origin"] == "https://app.test"


async def test_only_the_first_answer_counts() -> None:
    async with visit() as visiting:
        visiting.connection.answer(200, b"1")
        visiting.connection.answer(200, b"2")
        visiting.connection.respond(Problem(503, "stopping", "d").response())
        assert (await visiting.answer()).body == b"1"


async def test_a_refusal_is_a_problem() -> None:
    async with visit() as visiting:
        problem = Problem(429, "too_many_connections", "d")
        visiting.connection.answer(429, problem.body())
        answer = await visiting.answer()
        assert (answer.status, answer.headers["content-type"]) == (429, "application/problem+json")


async def test_a_client_that_leaves_is_told_of() -> None:
    async with visit() as visiting:
        visiting.client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        visiting.client.close()
        await visiting.end()
        visiting.connection.answer(200, b"{}")


async def test_a_client_that_closed_its_side_gets_its_answer_and_the_connection_ends() -> None:
    async with visit() as visiting:
        visiting.client.shutdown(socket.SHUT_WR)
        await asyncio.wait_for(visiting.half_closed.wait(), PATIENCE_S)
        assert not visiting.gone.is_set()
        visiting.connection.answer(200, b"x" * 300_000)
        assert (await visiting.answer()).body == b"x" * 300_000
        await visiting.end()


async def test_an_answer_at_the_end_of_the_clients_side_is_sent() -> None:
    async with visit() as visiting:
        visiting.at_half_closed = lambda: visiting.connection.answer(200, b"now")
        visiting.client.shutdown(socket.SHUT_WR)
        assert (await visiting.answer()).body == b"now"
        await visiting.end()


async def test_a_client_that_left_before_its_answer_is_gone_with_it() -> None:
    async with visit() as visiting:
        visiting.client.close()
        await asyncio.wait_for(visiting.half_closed.wait(), PATIENCE_S)
        visiting.connection.answer(200, b"{}")
        await visiting.end()


async def test_more_than_the_request_is_read_but_not_without_end() -> None:
    async with visit() as visiting:
        visiting.client.send(b"GET / HTTP/1.1\r\n\r\n")
        await a_while(0.02)
        visiting.connection.answer(200, b"{}")
        assert (await visiting.answer()).status == 200
    async with visit() as visiting:
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(
                asyncio.get_running_loop().sock_sendall(visiting.client, b"x" * (64 << 20)), 5
            )
        await visiting.end()


async def test_a_client_that_does_not_close_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(poll, "LINGER_S", 0.1)
    async with visit() as visiting:
        visiting.connection.answer(200, b"{}")
        await visiting.end()


async def test_answers_that_nobody_reads_are_few_for_each_user() -> None:
    lingering = Lingering(2)
    async with visit() as first, visit() as second, visit() as third, visit() as other:
        for user_id, each in (("a", first), ("a", second), ("b", other), ("a", third)):
            each.connection.answer(200, b"x" * (4 << 20))
            lingering.enter(user_id, each.connection)
        await first.end()
        assert not any(each.gone.is_set() for each in (second, third, other))
        lingering.leave("a", first.connection)
        lingering.enter("a", first.connection)
        await second.end()


async def test_an_unread_answer_to_a_client_that_closed_its_side_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(poll, "LINGER_S", 0.05)
    async with visit() as visiting:
        visiting.client.shutdown(socket.SHUT_WR)
        await visiting.half_closed.wait()
        visiting.connection.answer(200, b"x" * (16 << 20))
        await visiting.end()

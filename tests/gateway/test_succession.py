"""A port goes from one gateway to the next while clients connect: nobody is refused, nobody is cut off."""

import asyncio
import itertools
import socket
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from doorstep.development.processes import ServerProcess
from doorstep.gateway import succession
from doorstep.gateway.http_port import HttpPort, Request
from doorstep.gateway.succession import Bequest, Heir, Inheritance, inheritance_at
from tests.support.waiting import PATIENCE_S, a_while, until

pytestmark = pytest.mark.filterwarnings(
    "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)

REQUEST = b"GET / HTTP/1.1\r\nHost: test\r\n\r\n"
PORT = "port", "127.0.0.1", 0
HEIR_KEEPS = 2
"""Sockets: the port, and whom to hear of its end from."""


class Generation:
    """One of several servers that have the same port, one after the other; each answers with its number."""

    def __init__(self, number: int, path: Path) -> None:
        async def answer(_: Request) -> bytes:
            await asyncio.sleep(0.02)
            return b"HTTP/1.1 200 OK\r\n\r\n%d" % number

        self.port = HttpPort(answer, lambda _: None, head_timeout_s=5)
        self.taken = asyncio.Event()
        self.bequest = Bequest(path, number, lambda: self.port.listening, self.taken.set)
        self._number = number
        self.address = "", 0
        self._path = path

    async def start(self) -> None:
        with await inheritance_at(self._path, self._number) as left:
            self.address = self.port.listen(*PORT, left.sockets).getsockname()
            self.bequest.start()
            left.take()

    async def leave(self) -> None:
        await asyncio.wait_for(self.taken.wait(), PATIENCE_S)
        await self.port.leave(5)

    async def stop(self) -> None:
        self.bequest.close()
        await self.port.stop()


@asynccontextmanager
async def first(path: Path) -> AsyncIterator[Generation]:
    generation = Generation(1, path / "ports.sock")
    await generation.start()
    try:
        yield generation
    finally:
        await generation.stop()


async def ask(address: tuple[str, int], *, pause_s: float = 0) -> bytes:
    """The body of an answer, or what went wrong; the pause is in the middle of the request."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            reader, writer = await asyncio.open_connection(*address)
            writer.write(REQUEST[:9])
            await asyncio.sleep(pause_s)
            writer.write(REQUEST[9:])
            answer = await reader.read()
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
    except OSError as error:
        return type(error).__name__.encode()
    return answer.rpartition(b"\r\n\r\n")[2]


async def test_whoever_connects_while_ports_change_hands_is_answered(private_directory: Path) -> None:
    answers: list[bytes] = []
    over = asyncio.Event()

    async def ask_again_and_again(address: tuple[str, int]) -> None:
        while not over.is_set():
            answers.append(await ask(address))

    generations = [Generation(number, private_directory / "ports.sock") for number in range(1, 6)]
    await generations[0].start()
    address = generations[0].address
    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(ask_again_and_again(address))
        for number, (predecessor, successor) in enumerate(itertools.pairwise(generations), 1):
            await until(lambda: b"%d" % number in answers)  # noqa: B023
            await successor.start()
            assert successor.address == address
            await predecessor.leave()
        await until(lambda: b"5" in answers)
        over.set()
    await generations[-1].stop()
    assert set(Counter(answers)) == {b"1", b"2", b"3", b"4", b"5"}


async def test_who_waits_to_be_accepted_is_accepted_by_the_successor(private_directory: Path) -> None:
    path = private_directory / "ports.sock"
    with socket.create_server(("127.0.0.1", 0), backlog=100) as busy:
        bequest = Bequest(path, 1, lambda: {"port 127.0.0.1:0": busy}, busy.close)
        bequest.start()
        waiting = [asyncio.create_task(ask(busy.getsockname())) for _ in range(20)]
        await asyncio.sleep(0.05)
        successor = Generation(2, path)
        await successor.start()
        assert set(await asyncio.gather(*waiting)) == {b"2"}
    await successor.stop()


async def test_who_is_in_the_middle_of_a_request_is_answered_by_the_predecessor(
    private_directory: Path,
) -> None:
    async with first(private_directory) as generation:
        slow = asyncio.create_task(ask(generation.address, pause_s=0.3))
        await asyncio.sleep(0.1)
        successor = Generation(2, private_directory / "ports.sock")
        await successor.start()
        await generation.leave()
        assert await slow == b"1"
        assert await ask(successor.address) == b"2"
        await successor.stop()


async def test_a_successor_that_dies_before_it_listens_changes_nothing(
    private_directory: Path, open_sockets: Callable[[], int]
) -> None:
    async with first(private_directory) as generation:
        before = open_sockets()
        with await inheritance_at(private_directory / "ports.sock", 1) as left:
            assert left.is_there
        await a_while(0.05)
        assert not generation.taken.is_set()
        assert await ask(generation.address) == b"1"
        await until(lambda: open_sockets() == before)


async def test_who_stops_asking_at_any_moment_has_nothing(
    private_directory: Path, open_sockets: Callable[[], int]
) -> None:
    """Least of all a port that listens, and nobody accepts from."""
    async with first(private_directory):
        before = open_sockets()
        for turns in itertools.count():
            asking = asyncio.create_task(inheritance_at(private_directory / "ports.sock", 1))
            for _ in range(turns):
                await asyncio.sleep(0)
            asking.cancel()
            await asyncio.wait([asking])
            if not asking.cancelled():
                asking.result().close()
                break
        assert turns > 2
        await a_while(0.1)  # for whatever may go on without us
        assert open_sockets() == before


@asynccontextmanager
async def asked(path: Path) -> AsyncIterator[tuple[socket.socket, asyncio.Task[Inheritance]]]:
    """A predecessor that has accepted nobody yet, and has room for one, and who asks it."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen(0)
        listening.setblocking(False)
        asking = asyncio.create_task(inheritance_at(path, 1))
        yield listening, asking
        (await asking).close()


async def test_what_is_there_when_an_event_loop_that_stood_still_goes_on_is_taken(
    private_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(succession, "_PATIENCE_S", 0.05)
    async with asked(private_directory / "ports.sock") as (listening, asking):
        await asyncio.sleep(0)
        predecessor, _ = listening.accept()
        with predecessor:
            predecessor.send(b"[1]")
            time.sleep(0.1)  # noqa: ASYNC251 - that is what is tested
            assert (await asking).is_there


async def test_who_finds_a_full_queue_waits_for_room(private_directory: Path) -> None:
    path = private_directory / "ports.sock"
    async with asked(path) as (listening, first_asking):
        await asyncio.sleep(0)
        second_asking = asyncio.create_task(inheritance_at(path, 1))
        await a_while(0.05)
        for asking in (first_asking, second_asking):
            assert not asking.done()
            predecessor, _ = await asyncio.get_running_loop().sock_accept(listening)
            with predecessor:
                predecessor.send(b"[1]")
                assert (await asking).is_there
        second_asking.result().close()


async def test_a_port_that_the_successor_does_not_want_is_closed(
    private_directory: Path, open_sockets: Callable[[], int]
) -> None:
    before = open_sockets()
    async with first(private_directory) as generation:
        with await inheritance_at(private_directory / "ports.sock", 2) as left:
            assert list(left.sockets) == ["port 127.0.0.1:0"]
            left.take()
        await generation.leave()
        assert await ask(generation.address) == b"ConnectionRefusedError"
    await until(lambda: open_sockets() == before)


@pytest.mark.parametrize("left_over", [False, True])
async def test_without_a_predecessor_there_is_nothing_to_inherit(
    private_directory: Path, left_over: bool
) -> None:
    path = private_directory / "ports.sock"
    if left_over:  # as by one that was killed
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
            dead.listen()
    with await inheritance_at(path, 1) as left:
        assert (left.is_there, left.sockets) == (False, {})
        left.take()


@asynccontextmanager
async def dying_predecessor(path: Path) -> AsyncIterator[tuple[ServerProcess, tuple[str, int]]]:
    """One that accepts nobody, and the address of its port."""
    process = ServerProcess(
        [sys.executable, "-m", "tests.gateway.port_process", str(path)], log=path.parent / "log"
    )
    process.start()
    try:
        await asyncio.to_thread(
            process.wait_until, lambda: bool(process.output()), what="a port", timeout_s=PATIENCE_S
        )
        yield process, ("127.0.0.1", int(process.output()))
    finally:
        process.kill()


def is_offered(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0


def is_refused(address: tuple[str, int]) -> bool:
    with socket.socket() as asking:
        return asking.connect_ex(address) != 0


async def test_the_heir_of_one_that_died_keeps_who_connects_until_there_is_a_successor(
    private_directory: Path, open_sockets: Callable[[], int]
) -> None:
    path = private_directory / "ports.sock"
    async with dying_predecessor(path) as (predecessor, address):
        before = open_sockets()
        heir = asyncio.create_task(Heir(path, 1, "port").run())
        await until(lambda: open_sockets() == before + HEIR_KEEPS)
        waiting = [asyncio.create_task(ask(address)) for _ in range(10)]
        await asyncio.sleep(0.05)
        predecessor.kill()
        waiting += [asyncio.create_task(ask(address)) for _ in range(10)]
        await asyncio.sleep(0.05)
        await until(lambda: is_offered(path))
        successor = Generation(1, path)
        await successor.start()
        assert successor.address == address
        assert await asyncio.gather(*waiting) == [b"1"] * 20
        heir.cancel()
        await asyncio.wait([heir])
        await successor.stop()
        assert await ask(address) == b"ConnectionRefusedError"
        await until(lambda: open_sockets() == before)


async def test_an_heir_keeps_nothing_of_one_that_has_ended_in_order(
    private_directory: Path, open_sockets: Callable[[], int]
) -> None:
    path = private_directory / "ports.sock"
    async with first(private_directory) as generation:
        before = open_sockets()
        heir = asyncio.create_task(Heir(path, 1, "port").run())
        await until(lambda: open_sockets() == before + HEIR_KEEPS + 1)  # and the other end
    await until(lambda: is_refused(generation.address))
    heir.cancel()
    await asyncio.wait([heir])


async def test_nothing_goes_back_to_an_earlier_one_that_was_started_again(
    private_directory: Path, open_sockets: Callable[[], int]
) -> None:
    before = open_sockets()
    second = Generation(2, private_directory / "ports.sock")
    await second.start()
    with pytest.raises(OSError, match="a later one has the ports: 2, we are 1"):
        await inheritance_at(private_directory / "ports.sock", 1)
    assert await ask(second.address) == b"2"
    await second.stop()
    await until(lambda: open_sockets() == before)

"""Sockets that go from process to process: none gets lost, mixed up or forgotten open, whoever dies when."""

import asyncio
import os
import random
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.development.processes import ServerProcess
from doorstep.gateway import handover
from doorstep.gateway.handover import HandoverError, NoAnswerError, Parcel, Receiver, Sender
from doorstep.gateway.unix_listener import NotPrivateError
from tests.support.waiting import PATIENCE_S, a_while, until

# A socket that is left to the garbage collector counts as forgotten.
pytestmark = pytest.mark.filterwarnings(
    "error::ResourceWarning", "error::pytest.PytestUnraisableExceptionWarning"
)

CountSockets = Callable[[], int]


def parcel(user_id: str = "teacher-1", early: bytes = b"first words") -> Parcel:
    return Parcel("socket", user_id, 1e9, early=early)


@contextmanager
def tcp_pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The server's and the client's end of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        server, _ = listener.accept()
    client.settimeout(10)
    with server, client:
        yield server, client


class Inbox:
    """Keeps what a receiver gives it; may refuse."""

    def __init__(self) -> None:
        self.taken: list[tuple[socket.socket, Parcel]] = []
        self.refuses = False

    def put(self, sock: socket.socket, taken: Parcel) -> None:
        if self.refuses:
            raise RuntimeError("not now")
        self.taken.append((sock, taken))

    def close(self) -> None:
        for sock, _ in self.taken:
            sock.close()


@asynccontextmanager
async def receiving(directory: Path) -> AsyncIterator[tuple[Sender, Inbox]]:
    """A sender and a receiver in this process."""
    inbox = Inbox()
    receiver = Receiver(directory / "holder", inbox.put)
    await receiver.start()
    sender = Sender(directory / "holder")
    try:
        yield sender, inbox
    finally:
        sender.close()
        await receiver.stop()
        inbox.close()


@asynccontextmanager
async def receiver_process(directory: Path, mode: str = "greets") -> AsyncIterator[ServerProcess]:
    """A receiver in a process of its own, ready. The event loop goes on while it starts."""
    log = directory / f"log-{random.random()}"
    command = [sys.executable, "-m", "tests.gateway.receiver_process", str(directory / "holder"), mode]
    process = ServerProcess(command, log=log)
    process.start()
    try:
        is_ready = partial(_says_ready, process)
        await asyncio.to_thread(process.wait_until, is_ready, what="receiver", timeout_s=PATIENCE_S)
        yield process
    finally:
        process.kill()


def _says_ready(process: ServerProcess) -> bool:
    return "ready" in process.output()


async def toggle_limit(process: ServerProcess, state: str) -> None:
    process.signal(signal.SIGUSR1)
    while not process.output().endswith(state):  # noqa: ASYNC110 - another process writes it
        await asyncio.sleep(0.01)


async def greeting(client: socket.socket) -> bytes:
    """What a client reads up to the first line's end; nothing if its connection ends."""
    client.setblocking(False)
    with suppress(ConnectionError):
        return await asyncio.wait_for(asyncio.get_running_loop().sock_recv(client, 100), PATIENCE_S)
    return b""


async def test_a_socket_arrives_with_its_parcel(private_directory: Path) -> None:
    async with receiving(private_directory) as (sender, inbox):
        sent = Parcel(
            "poll", "lärare\u2028", 1_900_000_000.25, "a=\xff", "https://app.test", "HTTP/1.1 101", b"\0\xff"
        )
        with tcp_pair() as (server, client):
            await sender.hand_over(server, sent)
            server.close()
            ((taken, received),) = inbox.taken
            assert received == sent
            taken.send(b"hello")
            assert client.recv(10) == b"hello"
            assert taken.gettimeout() == 0


_text = st.text(st.characters(exclude_categories=["Cs"]))


@given(
    st.builds(
        Parcel,
        st.sampled_from(["socket", "poll"]),
        _text,
        st.floats(allow_nan=False, allow_infinity=False),
        _text,
        st.none() | _text,
        _text,
        st.binary(),
    )
)
def test_a_parcel_comes_out_as_it_went_in(sent: Parcel) -> None:
    assert Parcel.decode(sent.encode()) == sent


def test_a_parcel_of_a_newer_gateway_is_refused() -> None:
    fields = b'[2,"of any kind"]'
    with pytest.raises(ValueError, match="format 2, this holder knows 1: restart it"):
        Parcel.decode(struct.pack("!I", len(fields)) + fields)


@given(st.binary(max_size=64))
def test_what_is_no_parcel_is_refused(data: bytes) -> None:
    with suppress(ValueError):
        assert isinstance(Parcel.decode(data), Parcel)


async def test_many_at_once_each_with_its_own_socket(
    private_directory: Path, open_sockets: CountSockets
) -> None:
    before = open_sockets()
    async with receiving(private_directory) as (sender, inbox):
        with ExitStack() as stack:
            pairs = [stack.enter_context(tcp_pair()) for _ in range(300)]
            await asyncio.gather(
                *(
                    sender.hand_over(server, parcel(str(index), b"x" * (index * 50)))
                    for index, (server, _) in enumerate(pairs)
                )
            )
            assert len(inbox.taken) == 300
            for sock, taken in inbox.taken:
                sock.send(taken.user_id.encode())
            assert [client.recv(10) for _, client in pairs] == [str(index).encode() for index in range(300)]
    await until(lambda: open_sockets() == before)


async def test_a_refused_socket_stays_with_its_sender(
    private_directory: Path, open_sockets: CountSockets
) -> None:
    async with receiving(private_directory) as (sender, inbox):
        with tcp_pair() as (server, client):
            await sender.hand_over(server, parcel("first"))
            before = open_sockets()
            inbox.refuses = True
            for _ in range(3):
                with pytest.raises(HandoverError, match="could not take"):
                    await sender.hand_over(server, parcel("refused"))
            await until(lambda: open_sockets() == before)
            server.send(b"still ours")
            assert client.recv(10) == b"still ours"
            inbox.refuses = False
            await sender.hand_over(server, parcel("second"))
            assert [taken.user_id for _, taken in inbox.taken] == ["first", "second"]


async def test_without_a_receiver_it_fails_at_once(
    private_directory: Path, open_sockets: CountSockets
) -> None:
    sender = Sender(private_directory / "nobody")
    before = open_sockets()
    with tcp_pair() as (server, _), pytest.raises(HandoverError, match="no holder listens at nobody"):
        await sender.hand_over(server, parcel())
    await until(lambda: open_sockets() == before)


async def test_a_closed_socket_harms_no_other(private_directory: Path) -> None:
    async with receiving(private_directory) as (sender, inbox):
        with tcp_pair() as (server, _), tcp_pair() as (closed, _):
            await sender.hand_over(server, parcel("first"))
            fd = os.dup(closed.fileno())
            stand_in = socket.socket(fileno=fd)
            os.close(fd)
            results = await asyncio.gather(
                sender.hand_over(server, parcel("before")),
                sender.hand_over(stand_in, parcel("bad")),
                sender.hand_over(server, parcel("after")),
                return_exceptions=True,
            )
            stand_in.detach()
            assert isinstance(results[1], HandoverError)
            assert (results[0], results[2]) == (None, None)
            assert [taken.user_id for _, taken in inbox.taken] == ["first", "before", "after"]


async def test_who_waits_learns_that_the_sender_was_closed(private_directory: Path) -> None:
    with deaf_listener(private_directory), tcp_pair() as (server, _):
        sender = Sender(private_directory / "holder")
        waiting = asyncio.create_task(sender.hand_over(server, parcel()))
        await asyncio.sleep(0.01)
        sender.close()
        with pytest.raises(HandoverError, match="is gone"):
            await waiting


async def test_who_waits_learns_that_the_receiver_died_right_after_another_answer(
    private_directory: Path,
) -> None:
    """The answer and the end come in one event, and uvloop tells of such an end only once."""
    with deaf_listener(private_directory) as listener, tcp_pair() as (server, _):
        sender = Sender(private_directory / "holder")
        waiting = [asyncio.create_task(sender.hand_over(server, parcel())) for _ in range(2)]
        await asyncio.sleep(0.01)
        connection, _ = listener.accept()
        connection.send(struct.pack("!IB", 1, 0))
        connection.close()
        await asyncio.wait_for(waiting[0], PATIENCE_S)
        with pytest.raises(HandoverError, match="is gone"):
            await asyncio.wait_for(waiting[1], PATIENCE_S)


async def test_no_more_wait_than_can_be_helped(
    private_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(handover, "MAX_WAITING", 2)
    with deaf_listener(private_directory), tcp_pair() as (server, _):
        sender = Sender(private_directory / "holder")
        waiting = [asyncio.create_task(sender.hand_over(server, parcel())) for _ in range(2)]
        await asyncio.sleep(0.01)
        with pytest.raises(HandoverError, match="too many"):
            await sender.hand_over(server, parcel())
        sender.close()
        await asyncio.gather(*waiting, return_exceptions=True)


async def test_no_answer_is_waited_for_longer_than_asked(private_directory: Path) -> None:
    with deaf_listener(private_directory), tcp_pair() as (server, client):
        sender = Sender(private_directory / "holder")
        with pytest.raises(NoAnswerError, match="no answer in time"):
            await asyncio.wait_for(sender.hand_over(server, parcel(), 0.05), PATIENCE_S)
        server.send(b"still ours")
        assert client.recv(10) == b"still ours"
        sender.close()


@contextmanager
def deaf_listener(directory: Path) -> Iterator[socket.socket]:
    """Lets senders connect, and never reads."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(directory / "holder"))
        listener.listen()
        yield listener


# The receiver against a sender that is broken in every way.


@asynccontextmanager
async def raw_sender(directory: Path) -> AsyncIterator[tuple[socket.socket, Inbox]]:
    """A connection to a receiver, to send whatever a test likes."""
    async with receiving(directory) as (_, inbox):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.setblocking(False)
            connection.connect(str(directory / "holder"))
            await asyncio.sleep(0.02)
            yield connection, inbox


def message(id_: int, body: bytes) -> bytes:
    return struct.pack("!II", id_, len(body)) + body


WHOLE = message(7, parcel().encode())


@pytest.mark.parametrize("cut", [1, 4, 8, 9, len(WHOLE) - 1])
async def test_a_sender_that_dies_amid_a_parcel_leaves_nothing_open(
    private_directory: Path, open_sockets: CountSockets, cut: int
) -> None:
    before = open_sockets()
    async with raw_sender(private_directory) as (connection, inbox):
        with tcp_pair() as (server, client):
            socket.send_fds(connection, [WHOLE[:cut]], [server.fileno()])
            server.close()
            await a_while(0.02)
            connection.close()
            assert await greeting(client) == b""
        assert inbox.taken == []
    await until(lambda: open_sockets() == before)


@pytest.mark.parametrize("piece", [1, 3, 8, 13])
async def test_a_parcel_that_comes_in_pieces_is_whole(private_directory: Path, piece: int) -> None:
    async with raw_sender(private_directory) as (connection, inbox):
        with tcp_pair() as (server, _):
            socket.send_fds(connection, [WHOLE[:piece]], [server.fileno()])
            for start in range(piece, len(WHOLE), piece):
                await asyncio.sleep(0.001)
                connection.send(WHOLE[start : start + piece])
            assert await _answers(connection, 1) == [(7, 0)]
            assert inbox.taken[0][1] == parcel()


async def test_parcels_without_a_socket_are_refused_and_harm_no_other(
    private_directory: Path, open_sockets: CountSockets
) -> None:
    async with raw_sender(private_directory) as (connection, inbox):
        with tcp_pair() as (server, _):
            before = open_sockets()
            pipe = os.pipe()
            connection.send(message(1, parcel("none").encode()))
            socket.send_fds(connection, [message(2, parcel("pipe").encode())], [pipe[1]])
            socket.send_fds(
                connection, [message(3, parcel("two").encode())], [server.fileno(), server.fileno()]
            )
            socket.send_fds(connection, [message(4, b"no parcel")], [server.fileno()])
            connection.send(message(5, b""))
            socket.send_fds(connection, [message(6, parcel("one").encode())], [server.fileno()])
            assert await _answers(connection, 6) == [(1, 1), (2, 1), (3, 0), (4, 1), (5, 1), (6, 0)]
            os.close(pipe[1])
            assert os.read(pipe[0], 1) == b"", "the receiver has kept what is no socket"
            os.close(pipe[0])
            assert [taken.user_id for _, taken in inbox.taken] == ["two", "one"]
            await until(lambda: open_sockets() == before + 2)


async def test_a_sender_that_speaks_something_else_is_cut_off(private_directory: Path) -> None:
    async with raw_sender(private_directory) as (connection, _):
        connection.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await greeting(connection) == b""


async def test_what_came_before_the_nonsense_is_answered(private_directory: Path) -> None:
    """Else its sender would give the same socket to another receiver too."""
    async with raw_sender(private_directory) as (connection, inbox):
        with tcp_pair() as (server, _):
            socket.send_fds(connection, [WHOLE], [server.fileno()])
            connection.send(b"GET / HTTP/1.1\r\n\r\n")
            assert await _answers(connection, 1) == [(7, 0)]
            assert await greeting(connection) == b""
        assert [taken for _, taken in inbox.taken] == [parcel()]


async def test_a_sender_that_takes_no_answers_is_read_no_further(private_directory: Path) -> None:
    async with raw_sender(private_directory) as (connection, _):
        sent = 0
        with suppress(BlockingIOError):
            while sent < 100_000:
                connection.send(message(sent, b""))
                sent += 1
                await asyncio.sleep(0)
        assert sent < 100_000
        assert await _answers(connection, sent) == [(id_, 1) for id_ in range(sent)]


async def _answers(connection: socket.socket, count: int) -> list[tuple[int, int]]:
    data = b""
    while len(data) < 5 * count:
        data += await asyncio.wait_for(
            asyncio.get_running_loop().sock_recv(connection, 5 * count - len(data)), 10
        )
    return [(int(id_), int(status)) for id_, status in struct.iter_unpack("!IB", data)]


# Where it listens.


@pytest.fixture
def open_directory(private_directory: Path) -> Path:
    private_directory.chmod(0o750)
    return private_directory


async def test_a_directory_that_others_can_enter_is_refused(open_directory: Path) -> None:
    with pytest.raises(NotPrivateError, match="chmod 700"):
        await Receiver(open_directory / "holder", Inbox().put).start()


async def test_a_directory_of_another_user_is_refused(
    private_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: private_directory.stat().st_uid + 1)
    with pytest.raises(NotPrivateError, match="no directory of this user"):
        await Receiver(private_directory / "holder", Inbox().put).start()


async def test_the_directory_is_made_private(private_directory: Path) -> None:
    async with receiving(private_directory / "run" / "doorstep"):
        assert (private_directory / "run" / "doorstep").stat().st_mode & 0o777 == 0o700


async def test_a_path_that_is_too_long_is_explained(
    private_directory: Path, open_sockets: CountSockets
) -> None:
    before = open_sockets()
    with pytest.raises(OSError, match="a shorter run_dir is needed"):
        await Receiver(private_directory / ("x" * 110), Inbox().put).start()
    await until(lambda: open_sockets() == before)


def names_in(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir()]


async def test_a_successor_takes_the_path_over(private_directory: Path) -> None:
    old, new = Inbox(), Inbox()
    first = Receiver(private_directory / "holder", old.put)
    await first.start()
    second = Receiver(private_directory / "holder", new.put)
    await second.start()
    await first.stop()
    with tcp_pair() as (server, _):
        sender = Sender(private_directory / "holder")
        await sender.hand_over(server, parcel())
        sender.close()
    assert len(new.taken) == 1
    await second.stop()
    assert names_in(private_directory) == []
    new.close()


# Real processes.


async def test_a_receiver_without_free_descriptors_refuses_and_mixes_nothing_up(
    private_directory: Path,
) -> None:
    async with receiver_process(private_directory) as process:
        sender = Sender(private_directory / "holder")
        with tcp_pair() as (server, client):
            await sender.hand_over(server, parcel("first"))
            assert await greeting(client) == b"hello first\n"
        await toggle_limit(process, "full")
        for _ in range(3):
            with tcp_pair() as (server, client), pytest.raises(HandoverError, match="could not take"):
                await sender.hand_over(server, parcel("refused"))
        await toggle_limit(process, "free")
        for name in ("second", "third"):
            with tcp_pair() as (server, client):
                await sender.hand_over(server, parcel(name))
                assert await greeting(client) == f"hello {name}\n".encode()
        sender.close()


async def test_a_new_sender_waits_until_a_receiver_has_descriptors_again(private_directory: Path) -> None:
    async with receiver_process(private_directory) as process:
        with tcp_pair() as (server, client):
            await toggle_limit(process, "full")
            sender = Sender(private_directory / "holder")
            waiting = asyncio.create_task(sender.hand_over(server, parcel()))
            await asyncio.sleep(0.3)
            assert not waiting.done()
            await toggle_limit(process, "free")
            await asyncio.wait_for(waiting, PATIENCE_S)
            assert await greeting(client) == b"hello teacher-1\n"
            sender.close()


async def test_a_receiver_that_dies_before_its_answer_costs_nothing(
    private_directory: Path, open_sockets: CountSockets
) -> None:
    """The race of the socket that is handed over while its holder dies."""
    before = open_sockets()
    sender = Sender(private_directory / "holder")
    with tcp_pair() as (server, client):
        async with receiver_process(private_directory, "dies"):
            with pytest.raises(HandoverError, match="is gone"):
                await sender.hand_over(server, parcel())
        with pytest.raises(HandoverError, match="no holder listens"):
            await sender.hand_over(server, parcel())
        async with receiver_process(private_directory):
            await sender.hand_over(server, parcel())
            server.close()
            assert await greeting(client) == b"hello teacher-1\n"
    sender.close()
    await until(lambda: open_sockets() == before)


async def test_whoever_is_killed_when_every_client_is_greeted_once_or_cut_off(
    private_directory: Path, open_sockets: CountSockets
) -> None:
    """Receivers are killed at random while sockets come in; their successors get the sender's copies."""
    before = open_sockets()
    sender = Sender(private_directory / "holder")
    rng = random.Random(7)

    async def keep_trying(server: socket.socket, name: str) -> None:
        while True:
            try:
                await sender.hand_over(server, parcel(name, b"x" * rng.randrange(16_000)))
            except HandoverError:
                await asyncio.sleep(0.01)
            else:
                server.close()
                return

    async def visit(name: str) -> bytes:
        with tcp_pair() as (server, client):
            await keep_trying(server, name)
            return await greeting(client)

    async def visit_for(count: int, prefix: str) -> list[tuple[str, bytes]]:
        names = [f"{prefix}-{number}" for number in range(count)]
        return list(zip(names, await asyncio.gather(*map(visit, names)), strict=True))

    results = []
    for generation in range(3):
        async with receiver_process(private_directory) as process:
            visits = asyncio.create_task(visit_for(60, str(generation)))
            await asyncio.sleep(rng.random() * 0.03)
            process.kill()
        async with receiver_process(private_directory):
            results += await asyncio.wait_for(visits, PATIENCE_S)
    sender.close()
    assert all(seen in (b"", f"hello {name}\n".encode()) for name, seen in results)
    assert sum(seen != b"" for _, seen in results) >= len(results) // 2
    await until(lambda: open_sockets() == before)


async def test_who_gives_up_waiting_for_a_frozen_receiver_gets_nobody_elses_socket_there(
    private_directory: Path,
) -> None:
    """Descriptor numbers are used again: one that waits to be sent must not stand for a later socket."""
    async with receiver_process(private_directory) as process:
        with ExitStack() as stack:
            sender = Sender(private_directory / "holder")
            pairs = [stack.enter_context(tcp_pair()) for _ in range(60)]
            process.signal(signal.SIGSTOP)
            tasks = [
                asyncio.create_task(sender.hand_over(server, parcel(f"user-{index}", b"x" * 16_000)))
                for index, (server, _) in enumerate(pairs)
            ]
            await asyncio.sleep(0.05)
            for index in range(0, 60, 2):
                tasks[index].cancel()
            await asyncio.sleep(0)
            for index in range(0, 60, 2):
                pairs[index][0].close()
            strangers = [stack.enter_context(tcp_pair()) for _ in range(30)]
            process.signal(signal.SIGCONT)
            await asyncio.wait_for(asyncio.gather(*tasks[1::2]), PATIENCE_S)
            for index in range(1, 60, 2):
                assert await greeting(pairs[index][1]) == f"hello user-{index}\n".encode()
            for index in range(0, 60, 2):
                assert await greeting(pairs[index][1]) in (b"", f"hello user-{index}\n".encode())
            for _, client in strangers:
                client.setblocking(False)
                with pytest.raises(BlockingIOError):
                    client.recv(1)
            sender.close()


async def test_an_answer_that_comes_with_the_cancellation_counts(private_directory: Path) -> None:
    """Else the socket would be answered from both sides."""
    async with receiving(private_directory) as (sender, inbox):
        with tcp_pair() as (server, _):
            await sender.hand_over(server, parcel())
            task = asyncio.create_task(sender.hand_over(server, parcel()))
            while len(inbox.taken) < 2 or not _answered(sender):  # noqa: ASYNC110 - no event tells of it
                await asyncio.sleep(0)
            task.cancel()
            await task


def _answered(sender: Sender) -> bool:
    return all(answer.done() for answer in sender._waiting.values())

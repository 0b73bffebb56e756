"""A process full of clients: one loop around epoll and no framework, because it must cost next to nothing.

It does what it is told over a pipe (`orders`), and ends with that pipe.
"""

import errno
import os
import select
import socket
import sys
import time
from array import array
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection

from pydantic import SecretStr

from doorstep.benchmarks.client import Client, Samples, State
from doorstep.benchmarks.dialect import Identity
from doorstep.benchmarks.frames import Opcode, client_frame
from doorstep.benchmarks.health import HealthMeter
from doorstep.benchmarks.latency import Latencies, by_second
from doorstep.benchmarks.ledger import Exactness
from doorstep.benchmarks.obey import obey, open_pipe
from doorstep.benchmarks.orders import (
    Begin,
    Collect,
    Connect,
    Disconnect,
    Expect,
    Findings,
    Look,
    Mute,
    Order,
    Populate,
    Sight,
)
from doorstep.config.settings import AuthSettings
from doorstep.gateway.signer import Signer

_READ_BYTES = 16 * 1024
_POLL_S = 0.1
_NS_PER_S = 1_000_000_000
_IP_BIND_ADDRESS_NO_PORT = 24  # Linux: choose the port at connect, so that ports are shared by destinations
_MUTE_BUFFER_BYTES = 4096
_LEFT_BYTES = 1 << 20
_LEFT_S = 10.0
_QUIET_S = 0.3
_PAUSE_S = 0.005


class Swarm:
    """Clients and their sockets."""

    def __init__(self) -> None:
        """Empty until told to `Populate`."""
        self._epoll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._clients: list[Client] = []
        self._sockets: dict[int, socket.socket] = {}
        self._by_fd: dict[int, Client] = {}
        self._waiting: deque[Client] = deque()
        self._started: dict[Client, int] = {}
        self._muted: dict[int, Client] = {}
        self._window = 0
        self._failures: Counter[str] = Counter()
        self._connecting: list[int] = []
        self._live = 0
        self._samples = Samples()
        self._totals = array("L")
        self._expected = 0
        self._bytes = 0
        self._last_ns = 0
        self._begun_ns = 0
        self._health = HealthMeter()

    # --- the loop

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever the file descriptor has something to read."""
        self._handlers[fd] = handler
        self._epoll.register(fd, select.EPOLLIN)

    def run_once(self) -> None:
        """Wait for something to happen, and deal with all that has."""
        clients, handlers = self._by_fd, self._handlers
        for fd, events in self._epoll.poll(_POLL_S):
            if fd in clients:
                self._on_ready(fd, clients[fd], events)
            elif fd in handlers:
                handlers[fd]()
        self._fill_window()
        self._health.look(time.monotonic_ns())

    def _on_ready(self, fd: int, client: Client, events: int) -> None:
        if events & select.EPOLLOUT:
            self._on_connected(fd, client)
            return
        try:
            data = os.read(fd, _READ_BYTES)
        except BlockingIOError:
            return
        except OSError as error:
            self._on_lost(fd, client, errno.errorcode.get(error.errno or 0, str(error)))
            return
        if not data:
            self._on_lost(fd, client, client.verdict or "closed without a reason")
            return
        now = time.monotonic_ns()
        self._bytes += len(data)
        noted = len(self._samples.dues)
        answer = client.received(data, now)
        if len(self._samples.dues) > noted:
            self._last_ns = now
        if answer and not self._send(fd, client, answer):
            return
        if client in self._started and client.state is not State.OPENING:
            self._on_settled(fd, client, now)

    # --- connecting

    def _fill_window(self) -> None:
        while self._waiting and len(self._started) < self._window:
            self._open(self._waiting.popleft())

    def _open(self, client: Client) -> None:
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        sock.bind((self._source, 0))
        self._started[client] = time.monotonic_ns()
        failed = sock.connect_ex(self._address)
        if failed not in (0, errno.EINPROGRESS):
            sock.close()
            self._give_up(client, errno.errorcode.get(failed, str(failed)))
            return
        fd = sock.fileno()
        self._sockets[fd], self._by_fd[fd] = sock, client
        self._epoll.register(fd, select.EPOLLOUT)

    def _on_connected(self, fd: int, client: Client) -> None:
        failed = self._sockets[fd].getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            self._on_lost(fd, client, errno.errorcode.get(failed, str(failed)))
            return
        if self._send(fd, client, client.open()):
            self._epoll.modify(fd, select.EPOLLIN)

    def _send(self, fd: int, client: Client, data: bytes) -> bool:
        """Send a little, which always fits the socket's buffer; False if the connection is gone."""
        try:
            self._sockets[fd].send(data)
        except OSError as error:
            self._on_lost(fd, client, errno.errorcode.get(error.errno or 0, str(error)))
            return False
        return True

    def _on_settled(self, fd: int, client: Client, now_ns: int) -> None:
        """Its request was answered."""
        if client.state is State.LIVE:
            self._connecting.append(now_ns - self._started.pop(client))
            self._live += 1
            self._last_ns = now_ns
        else:
            self._on_lost(fd, client, client.verdict)

    def _on_lost(self, fd: int, client: Client, reason: str) -> None:
        self._live -= client.state is State.LIVE
        self._forget(fd, client)
        self._give_up(client, reason)

    def _give_up(self, client: Client, reason: str) -> None:
        self._started.pop(client, None)
        self._failures[reason] += 1

    def _forget(self, fd: int, client: Client) -> None:
        del self._by_fd[fd]
        self._sockets.pop(fd).close()
        client.closed()

    # --- what it is told

    def obey(self, order: Order) -> Sight | Findings:
        """Do it; the answer."""
        match order:
            case Populate():
                self._populate(order)
            case Connect(window):
                self._window = window
                self._waiting.extend(client for client in self._clients if client.state is State.OFFLINE)
            case Disconnect():
                self._disconnect()
            case Mute(share):
                self._mute(share)
            case Begin(start_ns):
                self._begin(start_ns)
            case Expect(totals):
                self._totals = totals
                self._expected = sum(
                    client.ledger.due(totals[client.ledger.user]) for client in self._judged()
                )
            case Collect():
                return self._findings()
            case Look():
                pass
            case _:
                raise TypeError(f"a swarm can't {order!r}")
        return self._sight()

    def _populate(self, order: Populate) -> None:
        self._disconnect()
        self._address, self._source = order.address, order.source
        self._samples = Samples()
        self._failures.clear()
        crowd = order.crowd
        self._totals = array("L", bytes(8 * crowd.users))
        signer = Signer(AuthSettings(hs256_secret=SecretStr(crowd.secret)))
        tokens = {
            user: signer.sign(crowd.user_id(user), crowd.token_ttl_s)
            for user in range(order.first // crowd.devices, -(-order.end // crowd.devices))
        }
        self._clients = [
            Client(order.dialect, Identity(crowd.user_id(user), tokens[user]), user, self._samples)
            for user in (number // crowd.devices for number in range(order.first, order.end))
        ]

    def _disconnect(self) -> None:
        for fd, client in {**self._by_fd, **self._muted}.items():
            self._by_fd[fd] = client
            self._forget(fd, client)
        self._muted.clear()
        self._started.clear()
        self._waiting.clear()
        self._live = 0

    def _mute(self, share: float) -> None:
        """An even choice: of every 1/share clients one."""
        live = [(fd, client) for fd, client in self._by_fd.items() if client.state is State.LIVE]
        chosen = live[:: round(1 / share)]
        for fd, _ in chosen:
            self._sockets[fd].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _MUTE_BUFFER_BYTES)
            self._epoll.unregister(fd)
            self._muted[fd] = self._by_fd.pop(fd)
        self._live -= len(chosen)

    def _begin(self, start_ns: int) -> None:
        del self._samples.dues[:]
        del self._samples.latencies[:]
        self._expected = 0
        self._connecting.clear()
        self._bytes = 0
        self._begun_ns = self._last_ns = start_ns
        self._health.begin()

    def _sight(self) -> Sight:
        return Sight(
            clients=len(self._clients),
            live=self._live,
            opening=len(self._waiting) + len(self._started),
            failures=dict(self._failures),
            received=len(self._samples.dues),
            expected=self._expected,
            last_ns=self._last_ns,
        )

    def _judged(self) -> Iterator[Client]:
        muted = set(self._muted.values())
        return (client for client in self._clients if client not in muted)

    def _findings(self) -> Findings:
        health = self._health.report()  # before the work of this very order
        exactness = Exactness()
        for client in self._judged():
            exactness += client.ledger.settle(self._totals[client.ledger.user])
        samples = self._samples
        return Findings(
            exactness=exactness,
            by_second=by_second(self._begun_ns, samples.dues, samples.latencies),
            arrived=_by_arrival(self._begun_ns, samples),
            connecting=Latencies.of_ns(self._connecting),
            bytes_received=self._bytes,
            last_ns=self._last_ns,
            muted=len(self._muted),
            muted_closed=_count_closed(self._sockets[fd] for fd in self._muted),
            resets=sum(client.resets for client in self._clients),
            health=health,
        )


def _by_arrival(begun_ns: int, samples: Samples) -> Counter[int]:
    return Counter(
        (due + latency - begun_ns) // _NS_PER_S
        for due, latency in zip(samples.dues, samples.latencies, strict=True)
    )


def _count_closed(muted: Iterable[socket.socket]) -> int:
    """How many of them the other side has closed; what they never read comes before that, and is read now.

    Each sends a ping first: it tells the other side's kernel that there is room again, or is answered with a
    reset where nobody is there any more.
    """
    waiting, closed = list(muted), 0
    for sock in waiting:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _LEFT_BYTES)
        with suppress(OSError):
            sock.send(client_frame(Opcode.PING, b""))
    end = time.monotonic() + _LEFT_S
    quiet_at = time.monotonic() + _QUIET_S
    while waiting and time.monotonic() < min(end, quiet_at):
        time.sleep(_PAUSE_S)
        for sock in tuple(waiting):
            try:
                data = sock.recv(_LEFT_BYTES)
            except BlockingIOError:
                continue
            except OSError:
                data = b""
            if data:
                quiet_at = time.monotonic() + _QUIET_S
            else:
                waiting.remove(sock)
                closed += 1
    return closed


def main(pipe: Connection) -> None:
    """Be a swarm until the pipe ends."""
    swarm = Swarm()
    swarm.watch(pipe.fileno(), partial(obey, pipe, swarm.obey))
    while True:
        swarm.run_once()


if __name__ == "__main__":
    main(open_pipe(int(sys.argv[1])))

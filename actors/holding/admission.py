"""Lets newcomers in: a connection that the gateway has handed over becomes a subscriber, or is refused."""

import asyncio
import resource
import socket
from collections.abc import Callable, Sequence
from typing import NamedTuple

import structlog

from doorstep.actors.holding.poll_subscriber import STOPPING, PollSubscriber
from doorstep.actors.holding.registry import Registry
from doorstep.actors.holding.socket_subscriber import SocketSubscriber
from doorstep.actors.holding.subscriber import Home, Subscriber
from doorstep.actors.holding.waiting_room import WaitingRoom
from doorstep.gateway.handover import FullError, Parcel
from doorstep.gateway.head import HeadError
from doorstep.gateway.late_refusal import is_late, late_refusal
from doorstep.gateway.poll import PollConnection
from doorstep.gateway.problem import Problem
from doorstep.gateway.websocket import SocketLimits

_TOO_MANY = Problem(429, "too_many_connections", "the user has as many connections as are allowed")

_KEPT_DESCRIPTORS = 256
"""For Ray, Redis and whatever comes: Ray's part of an actor does not survive without."""

logger = structlog.get_logger(__name__)


class _Newcomer(NamedTuple):
    sock: socket.socket
    parcel: Parcel
    subscriber: Subscriber


class Admission:
    """Every connection that is taken gets an answer: its 101 or its notifications, or a problem document."""

    def __init__(
        self, home: Home, registry: Registry[Subscriber], limits: SocketLimits, want: Callable[[int], None]
    ) -> None:
        """`want` is told of a slot that is needed from now on."""
        self._home = home
        self._registry = registry
        self._limits = limits
        self._want = want
        self._is_open = True
        self._most_descriptors = _most_descriptors()
        self._waiting = WaitingRoom[_Newcomer](
            self,
            home.settings.gateway.max_sockets_per_user,
            let_in=self._let_in_late,
            turn_away=lambda newcomer: self._refuse(newcomer.sock, newcomer.parcel, _TOO_MANY),
            spawn=home.spawn,
        )

    def close(self) -> None:
        """Let nobody in any more."""
        self._is_open = False

    def take(self, sock: socket.socket, parcel: Parcel) -> None:
        """Own a connection from now on. It is counted at once, so that no two slip in together; but not where
        its client has cut it off on the way here, as most of a storm have that is more than we can take.

        Raises `FullError` where nearly all descriptors are in use: a new one has the lowest number that is
        free.
        """
        if sock.fileno() >= self._most_descriptors:
            self._home.counters.refusals.labels("holder_full").inc()
            raise FullError
        if _is_reset(sock):
            _forget(sock)
            return
        try:
            subscriber = self._subscriber_for(parcel)
        except HeadError as error:
            self._refuse(sock, parcel, Problem(error.status, error.code, str(error)))
            return
        newcomer = _Newcomer(sock, parcel, subscriber)
        if not self._is_open:
            self._refuse(sock, parcel, STOPPING)
        elif self._registry.has_room(parcel.user_id, parcel.kind):
            self._let_in(newcomer)
        elif parcel.kind == "socket":
            self._waiting.enter(parcel.user_id, newcomer)
        else:
            self._refuse(sock, parcel, _TOO_MANY)

    # What the waiting room needs

    def seated(self, user_id: str) -> Sequence[SocketSubscriber]:
        """The sockets of a user, oldest first."""
        return [each for each in self._registry.of(user_id) if isinstance(each, SocketSubscriber)]

    def has_room(self, user_id: str) -> bool:
        """Whether a user may have one more socket."""
        return self._registry.has_room(user_id, "socket")

    # Parts

    def _subscriber_for(self, parcel: Parcel) -> Subscriber:
        if parcel.kind == "poll":
            return PollSubscriber(self._home, parcel)
        return SocketSubscriber(self._home, parcel, self._limits)

    def _let_in_late(self, newcomer: _Newcomer) -> None:
        """Its client may have cut it off while it waited."""
        if _is_reset(newcomer.sock):
            _forget(newcomer.sock)
        else:
            self._let_in(newcomer)

    def _let_in(self, newcomer: _Newcomer) -> None:
        slot = self._registry.add(newcomer.subscriber)
        if slot is not None:
            self._want(slot)
        self._home.spawn(self._begin(newcomer))

    async def _begin(self, newcomer: _Newcomer) -> None:
        sock, parcel, subscriber = newcomer
        if not await _connected(sock, subscriber.protocol):
            subscriber.protocol.connection_lost(None)
            return
        try:
            subscriber.begin(parcel)
        except Exception as error:  # never a connection without an answer
            subscriber.fail(error)

    def _refuse(self, sock: socket.socket, parcel: Parcel, problem: Problem) -> None:
        self._home.refused(parcel.user_id, problem)
        self._home.spawn(self._answer(sock, parcel, problem))

    async def _answer(self, sock: socket.socket, parcel: Parcel, problem: Problem) -> None:
        """Who is refused and does not leave gives way to the next one of the user, like an answered poll:
        descriptors are everybody's."""
        user_id, lingering = parcel.user_id, self._home.lingering
        answering = PollConnection(
            lambda: lingering.leave(user_id, answering), self._home.traffic, parcel.origin
        )
        if not await _connected(sock, answering):
            answering.connection_lost(None)
            return
        if parcel.kind == "socket" and is_late(parcel.query):
            answering.respond(late_refusal(parcel.answer, problem))
        else:
            answering.refuse(problem)
        if answering.is_open:
            lingering.enter(user_id, answering)


def _most_descriptors() -> int:
    """The limit of this process, without those that are kept; of a low limit a quarter is."""
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit - min(_KEPT_DESCRIPTORS, limit // 4)


async def _connected(sock: socket.socket, protocol: asyncio.Protocol) -> bool:
    """Whether the socket was still connected, and is now the protocol's."""
    try:
        await asyncio.get_running_loop().connect_accepted_socket(lambda: protocol, sock)
    except OSError:
        _forget(sock)
        return False
    return True


def _is_reset(sock: socket.socket) -> bool:
    """Whether its client has cut it off. Who has only closed its side may want an answer yet."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return False


def _forget(sock: socket.socket) -> None:
    sock.close()
    logger.info("connection_gone_before_it_was_open")

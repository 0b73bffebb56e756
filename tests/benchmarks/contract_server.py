"""A small server with Doorstep's public contract that can also break it, to see whether the suite notices.

The fault is chosen by the scenario: user ids start with its name. `python contract_server.py`, configured by
the same `DOORSTEP_…` variables as the real one.
"""

import asyncio
import hashlib
import os
from collections import defaultdict
from collections.abc import Callable
from http import HTTPStatus
from typing import Any

import jwt
import orjson
import uvloop
from aiokafka import AIOKafkaConsumer
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response

TOPIC = "huleedu.notification.teacher.requested.v1"
EVERY = 1000
"""Which events a rare fault hits: number 500, 1,500, 2,500 …"""
LATE_S = 0.6
PING_S = 0.25

Deliver = Callable[["Contract", str, int, bytes], None]


class Contract:
    """The logs of all users, and their sockets."""

    def __init__(self) -> None:
        self.logs: defaultdict[str, list[bytes]] = defaultdict(list)
        self.sockets: defaultdict[str, set[ServerConnection]] = defaultdict(set)
        self.ready = False
        self.seen: defaultdict[str, int] = defaultdict(int)
        self.held: dict[str, bytes] = {}

    def on_event(self, envelope: Any) -> None:
        """Append an event to its user's log, and push it, or do what the scenario's fault makes of it."""
        data = envelope["data"]
        user, notification = data["teacher_id"], _notification(envelope)
        scenario = user.rsplit("-", 2)[0]
        self.seen[scenario] += 1
        FAULTS.get(scenario, _faithful)(self, user, self.seen[scenario], notification)

    def append(self, user: str, notification: bytes) -> bytes:
        """The frame of a new entry of the user's log."""
        log = self.logs[user]
        seq = len(log) + 1
        log.append(b'{"seq":%d,"cursor":"%b",%b' % (seq, _cursor(seq).encode(), notification[1:]))
        return log[-1]

    def push(self, user: str, frame: bytes) -> None:
        for socket in self.sockets[user]:
            socket.protocol.send_text(frame)
            _flush(socket)

    def ping(self, user: str) -> None:
        for socket in self.sockets[user]:
            socket.protocol.send_ping(b"")
            _flush(socket)

    async def on_socket(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        token = socket.request.headers["Authorization"].removeprefix("Bearer ")
        user = jwt.decode(token, os.environ["DOORSTEP_AUTH__HS256_SECRET"], ["HS256"])["sub"]
        _, _, cursor = socket.request.path.partition("?cursor=")
        log = self.logs[user]
        seen = int(cursor.partition("-")[0]) if cursor else len(log)
        data = {"user_id": user, "cursor": _cursor(seen), "resumed": bool(cursor), "ping_interval_ms": 25_000}
        welcome = {"event": "doorstep.welcome", "data": data, "cursor": _cursor(seen)}
        await socket.send(orjson.dumps(welcome), text=True)
        while seen < len(log):
            await socket.send(log[seen], text=True)
            seen += 1
        self.sockets[user].add(socket)
        await socket.wait_closed()
        self.sockets[user].discard(socket)

    def on_request(self, socket: ServerConnection, request: Request) -> Response | None:
        if request.path == "/readyz":
            return socket.respond(HTTPStatus.OK if self.ready else HTTPStatus.SERVICE_UNAVAILABLE, "")
        return None


def _flush(socket: ServerConnection) -> None:
    for data in socket.protocol.data_to_send():
        socket.transport.write(data)


def _faithful(contract: Contract, user: str, _number: int, notification: bytes) -> None:
    contract.push(user, contract.append(user, notification))


def _drop(contract: Contract, user: str, number: int, notification: bytes) -> None:
    frame = contract.append(user, notification)
    if number % EVERY != EVERY // 2:
        contract.push(user, frame)


def _duplicate(contract: Contract, user: str, number: int, notification: bytes) -> None:
    frame = contract.append(user, notification)
    contract.push(user, frame)
    if number % EVERY == EVERY // 2:
        contract.push(user, frame)


def _swap(contract: Contract, user: str, number: int, notification: bytes) -> None:
    """Two of a user change places, once."""
    if number > EVERY // 2 and not contract.held:
        contract.held[user] = notification
        return
    contract.push(user, contract.append(user, notification))
    if contract.held.get(user):
        contract.push(user, contract.append(user, contract.held[user]))
        contract.held[user] = b""


def _late(contract: Contract, user: str, _number: int, notification: bytes) -> None:
    asyncio.get_running_loop().call_later(LATE_S, contract.push, user, contract.append(user, notification))


def _late_sometimes(contract: Contract, user: str, number: int, notification: bytes) -> None:
    """Two users of a hundred: so the order stays right."""
    is_late = int(user.rpartition("-")[2]) % 50 == 0
    (_late if is_late else _faithful)(contract, user, number, notification)


def _wrong_user(contract: Contract, user: str, number: int, notification: bytes) -> None:
    frame = contract.append(user, notification)
    contract.push(user, frame)
    if number % EVERY == EVERY // 2:
        other = next(other for other in contract.sockets if other != user and contract.sockets[other])
        contract.push(other, frame)


def _pinging(contract: Contract, user: str, _number: int, notification: bytes) -> None:
    """No fault: a ping comes a moment after each notification."""
    _faithful(contract, user, _number, notification)
    asyncio.get_running_loop().call_later(PING_S, contract.ping, user)


def _die(_contract: Contract, _user: str, _number: int, _notification: bytes) -> None:
    os._exit(7)


FAULTS: dict[str, Deliver] = {
    "drop": _drop,
    "duplicate": _duplicate,
    "swap": _swap,
    "late": _late,
    "late-sometimes": _late_sometimes,
    "wrong-user": _wrong_user,
    "pinging": _pinging,
    "die": _die,
}
"""By the name of the scenario."""


def _notification(envelope: Any) -> bytes:
    data = envelope["data"]
    return orjson.dumps(
        {
            "event": data["notification_type"],
            "id": envelope["event_id"],
            "correlation_id": data["correlation_id"],
            "timestamp": envelope["event_timestamp"],
            "data": {**data["payload"], "category": data["category"], "timestamp": data["timestamp"]},
        }
    )


def _cursor(seq: int) -> str:
    return f"{seq}-{hashlib.sha1(str(seq).encode()).hexdigest()[:16]}"


async def main() -> None:
    contract = Contract()
    port = int(os.environ["DOORSTEP_GATEWAY__PORT"])
    consumer = AIOKafkaConsumer(
        TOPIC,
        bootstrap_servers=os.environ["DOORSTEP_KAFKA__BOOTSTRAP_SERVERS"],
        group_id=os.environ["DOORSTEP_KAFKA__GROUP_ID"],
        auto_offset_reset="earliest",
    )
    async with (
        serve(contract.on_socket, "127.0.0.1", port, process_request=contract.on_request, compression=None),
        consumer,
    ):
        await consumer.seek_to_end()  # not what a test before has left
        contract.ready = True
        async for record in consumer:
            contract.on_event(orjson.loads(record.value))


if __name__ == "__main__":
    uvloop.run(main())

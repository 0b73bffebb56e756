"""Whether the Redis user may do what Doorstep does: found out by doing it."""

import re
from typing import Any

from doorstep.actors.placement.slots import SLOTS
from doorstep.actors.store.redis.calls import Connection, Script
from doorstep.actors.store.redis.errors import StoreError, StoreMisconfigured
from doorstep.actors.store.redis.link import pack, refusal_of
from doorstep.actors.store.redis.server import Server

_RIGHTS = Script("rights.lua")
_REFUSED = re.compile(r"\bNOPERM\b|\bACL\b|permission|can't (?:run|access|publish)", re.IGNORECASE)
_COMMAND = re.compile(r"the '([\w|]+)' command")


async def check_rights(connection: Connection) -> None:
    """Raises `StoreMisconfigured` that names the rights that are missing, `StoreUnavailable`."""
    slots = {connection.keys.probe(slot): slot for slot in range(SLOTS if connection.sharded else 1)}
    placed = await connection.place(list(slots))
    refusals = [
        refusal
        for server, hosted in placed.items()
        if hosted
        for refusal in await _refusals(connection, server, slots[hosted[0]])
    ]
    if refusals:
        rights = sorted({_right(connection.keys.prefix, *refusal) for refusal in refusals})
        raise StoreMisconfigured(
            f"the Redis user lacks rights: `ACL SETUSER <user> {' '.join(rights)}` allows it "
            f"(docs/operations.md has the whole list; Redis says: {refusals[0][1]})"
        )


async def _refusals(connection: Connection, server: Server, slot: int) -> list[tuple[str, str]]:
    """The commands that one master refuses, and its errors."""
    prefix, channel = ("S" if connection.sharded else ""), f"{connection.keys.feed(slot)}:probe"
    call = _RIGHTS.call([connection.keys.probe(slot)], [f"{prefix}PUBLISH", channel])
    try:
        found = await connection.run_one(call)
    except StoreError as error:
        if not _REFUSED.search(str(error)):
            raise
        return [("EVAL", str(error))]
    failed = [(verb.decode(), error.decode()) for verb, error in zip(found[::2], found[1::2], strict=True)]
    failed += await _failed_subscription(server, prefix, channel)
    return [each for each in failed if _REFUSED.search(each[1])]


async def _failed_subscription(server: Server, prefix: str, channel: str) -> list[tuple[str, str]]:
    """Subscriptions are answered by pushes, and refused by replies: before those to EVAL and PING."""
    verbs = [(f"{prefix}SUBSCRIBE", channel), (f"{prefix}UNSUBSCRIBE", channel)]
    link = await server.open(_ignore, _ignore)
    try:
        commands = [*verbs, ("EVAL", "return 1", 0), ("PING",)]
        replies = await link.exchange(b"".join(map(pack, commands)), 2)
    finally:
        link.close()
    return [(verbs[0][0], refusal) for reply in replies if (refusal := refusal_of(reply)) is not None]


def _right(prefix: str, verb: str, error: str) -> str:
    """What allows a command that was refused with this error."""
    if re.search(r"\bkeys?\b", error):
        return f"~{prefix}:*"
    if "channel" in error:
        return f"&{prefix}:*"
    named = _COMMAND.search(error)
    return f"+{named[1] if named else verb.lower()}"


def _ignore(_: Any) -> None: ...

"""What the tests of the store share."""

import hashlib
from collections.abc import Iterable, Sequence

from pydantic import SecretStr

from doorstep.actors.placement.slots import slot_of
from doorstep.actors.records import Partition
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Canary, Entry, Page, Want
from doorstep.config.settings import RedisSettings
from doorstep.gateway.cursor import Cursor

KEYS = Keyspace("doorstep")
"""What keys and channels are called with the usual settings."""
START = Cursor(0, "5" * 16)
"""Before the first notification of every log, in a store that a test has stamped."""


async def stamp(connection: Connection) -> None:
    """Do what a consumer does before anything else: stamp the store, and say that it knows its servers."""
    assert await Stamp(connection, START.digest).ensure() == START.digest
    await know(connection)


async def know(connection: Connection) -> None:
    """Say that the servers are known, as a consumer does with its first checkpoints."""
    checkpoints, canary = Checkpoints(connection), Canary("tests", ("!tests", 0), 1)
    await checkpoints.write(canary.group, {canary.partition: canary.checkpoint})
    await checkpoints.advance({}, await checkpoints.server_identity(), canary)


def redis_settings(
    url: str, *, cluster: bool = False, timeout_s: float = 5.0, prefix: str = KEYS.prefix
) -> RedisSettings:
    """Settings for a server of the tests."""
    return RedisSettings(url=SecretStr(url), cluster=cluster, timeout_s=timeout_s, prefix=prefix)


def entry(user: str, key: str, payload: bytes | None = None) -> Entry:
    """An entry with a readable dedupe key."""
    return user, key.encode(), payload if payload is not None else b'{"id":"%s"}' % key.encode()


async def offsets_in(checkpoints: Checkpoints, group: str) -> dict[Partition, int]:
    """The offsets that a group's checkpoints say."""
    return {partition: found.offset for partition, found in (await checkpoints.read(group)).items()}


def by_slot(users: Iterable[str]) -> dict[int, list[str]]:
    """The users of each slot, in order."""
    slots: dict[int, list[str]] = {}
    for user in users:
        slots.setdefault(slot_of(user), []).append(user)
    return slots


async def append(log: Log, user: str, *keys: str) -> tuple[int, int]:
    """Append entries with these dedupe keys to one user's log: how many were new, and its last number."""
    new = await log.append([entry(user, key) for key in keys])
    (head,) = await log.heads([user])
    assert head is not None
    return new, head.seq


async def read(
    log: Log, user: str, after: Cursor | None = START, *, limit: int = 1000, replay: int = 0
) -> Page:
    """Read one page of one user."""
    (page,) = await log.read([Want(user, after, limit, replay)])
    assert page is not None
    return page


def cursors_of(keys: Sequence[str]) -> list[Cursor]:
    """The cursors after 0, 1, 2 … entries with these dedupe keys: the chain, computed independently."""
    chain = [START]
    for key in keys:
        digest = hashlib.sha1((chain[-1].digest + key).encode()).hexdigest()[:16]
        chain.append(Cursor(len(chain), digest))
    return chain


def keys_of(page: Page) -> list[str]:
    """The dedupe keys of the notifications of a page, as `entry` wrote them into the payloads."""
    return [each.payload.decode()[7:-2] for each in page.notifications]


def log_key(user: str) -> str:
    return KEYS.user(slot_of(user), user)[0]


def head_key(user: str) -> str:
    return KEYS.user(slot_of(user), user)[1]


def ids_key(user: str) -> str:
    return KEYS.user(slot_of(user), user)[2]

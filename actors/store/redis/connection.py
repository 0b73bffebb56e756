"""The way to Redis that the settings describe, and what must be true of it before anything is written."""

import re
from functools import partial

import structlog

from doorstep.actors.store.redis.address import Target, parse_target
from doorstep.actors.store.redis.calls import Connection, OnAnswer
from doorstep.actors.store.redis.cluster import ClusterConnection
from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.actors.store.redis.keyspace import Keyspace
from doorstep.actors.store.redis.link import Address, pack
from doorstep.actors.store.redis.sentinel import find_master
from doorstep.actors.store.redis.server import Server
from doorstep.actors.store.redis.single import SingleConnection
from doorstep.config.settings import RedisSettings

__all__ = ["Connection", "check_server", "connect"]

logger = structlog.get_logger(__name__)


def connect(settings: RedisSettings, on_answer: OnAnswer = lambda _seconds: None) -> Connection:
    """The connection that the settings describe; nothing is opened before it is needed.

    Raises `StoreMisconfigured` for a URL that can't be read or certificates that can't be loaded.
    """
    target = parse_target(settings)
    keys = Keyspace(settings.prefix, target.login.db)
    if settings.cluster:
        return ClusterConnection(keys, on_answer, target.addresses, target.login)
    find = partial(find_master, target) if target.service else partial(_first, target)
    return SingleConnection(keys, on_answer, Server(find, target.login))


async def _first(target: Target) -> Address:
    return target.addresses[0]


async def check_server(connection: Connection) -> None:
    """Check what would lose data later: that no master evicts keys, and that it is of the kind set.

    Raises `StoreMisconfigured` with what to change, `StoreUnavailable`. What the server doesn't tell (some
    managed services) is logged as a warning.
    """
    for server in await connection.place([]):
        info, commands = await server.exchange(pack(("INFO",)) + pack(("COMMAND", "INFO", "SPUBLISH")), 2)
        _check(connection, info.decode() if isinstance(info, bytes) else "")
        if connection.sharded and commands == [None]:
            raise StoreMisconfigured("this cluster has no sharded pub/sub: use Redis 7 or later, or Valkey")


def _check(connection: Connection, info: str) -> None:
    facts = dict(re.findall(r"^(\w+):(.*?)\r?$", info, re.MULTILINE))
    policy = facts.get("maxmemory_policy")
    if policy is None:
        logger.warning("redis_not_checked", reason="INFO does not tell maxmemory_policy, must be noeviction")
    elif policy != "noeviction":
        raise StoreMisconfigured(
            f"Redis would evict logs when its memory is full (maxmemory-policy is {policy}): "
            "set `maxmemory-policy noeviction` in its configuration"
        )
    if facts.get("cluster_enabled", "0") == "1" and not connection.sharded:
        raise StoreMisconfigured("Redis is in cluster mode: set DOORSTEP_REDIS__CLUSTER=true")

"""A Redis user with just the rights that docs/operations.md lists, on a real server."""

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from doorstep.actors.placement.slots import slot_of
from doorstep.actors.records import StoredRecord
from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import check_server, connect
from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.actors.store.rights import check_rights
from doorstep.actors.store.stamp import Stamp
from doorstep.actors.store.values import Canary, Parking
from doorstep.config.settings import ContextSettings, HistorySettings
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import append, entry, keys_of, know, read, redis_settings
from tests.actors.store.owner import Owner
from tests.conftest import ValkeyFactory

ROOT = Path(__file__).parents[3]
RIGHTS = re.search(
    r"ACL SETUSER doorstep on >password (.*?)```", (ROOT / "docs/operations.md").read_text(), re.DOTALL
)
CLUSTER_ONLY = {"asking", "cluster|slots", "command|info", "spublish", "ssubscribe", "sunsubscribe"}


def rights() -> list[str]:
    """The rules of the documented user."""
    assert RIGHTS is not None
    return RIGHTS[1].split()


def granted() -> set[str]:
    """The commands that he may use."""
    return {rule[1:] for rule in rights() if rule.startswith("+")}


@pytest.fixture
def server(valkey_factory: ValkeyFactory) -> Iterator[Eyes]:
    """A server with the documented user, and commands to it by another one."""
    eyes = Eyes(valkey_factory().url)
    eyes("ACL", "SETUSER", "doorstep", "on", ">password", *rights())
    yield eyes
    eyes.close()


def as_doorstep(server: Eyes, login: str = "doorstep:password", database: int = 0) -> str:
    return f"redis://{login}@{urlsplit(server.url).netloc}/{database}"


def test_the_documented_rights_are_those_of_the_code() -> None:
    scripts = "".join(file.read_text() for file in (ROOT / "actors/store").glob("*.lua"))
    modules = "".join(file.read_text() for file in (ROOT / "actors/store").rglob("*.py"))
    used = set(re.findall(r"(?:call|try)\('([A-Z]+)'", scripts))
    used |= set(re.findall(r'(?:command\(|pack\(\()\s*"([A-Z]+)"', modules))
    used -= {"COMMAND", "CLUSTER", "SENTINEL"}
    tried = set(re.findall(r"\{ '([A-Z]+)'", scripts))
    assert {verb.lower() for verb in used} <= granted()
    assert used <= tried | {"ASKING", "EVAL", "EVALSHA", "PING"}
    assert {verb.lower() for verb in tried} <= granted()


@pytest.mark.parametrize("database", [0, 3])
async def test_the_documented_user_can_do_everything(server: Eyes, database: int) -> None:
    connection = connect(redis_settings(as_doorstep(server, database=database)))
    await check_server(connection)
    await check_rights(connection)
    await Stamp(connection).ensure()
    await know(connection)
    owner, log = Owner(connection), Log(connection, HistorySettings())
    owner.start()
    await owner.feed.subscribe([slot_of("u")])
    checkpoints, canary = Checkpoints(connection), Canary("g", ("!me", 0), 1)
    await checkpoints.write("g", {canary.partition: 1})
    assert await log.append([entry("u", "a")], canary) == 1
    assert await append(log, "u", "b") == (1, 2)
    assert keys_of(await read(log, "u", None, replay=9)) == ["a", "b"]
    await owner.until(pushes=2)
    owner.feed.unsubscribe([slot_of("u")])
    await checkpoints.advance({("t", 0): 1}, await checkpoints.server_identity(), canary)
    contexts = Contexts(connection, ContextSettings())
    record = StoredRecord("t", 0, 1, None, b"v", ())
    assert await contexts.resolve_or_park([("b", record)]) == [Parking.PARKED]
    assert await contexts.register("b", "u") == "new"
    assert await contexts.orphans() == ["b"]
    assert await contexts.unpark("b", [record.identity]) == 0
    assert await contexts.expired(9) == []
    assert await contexts.claim_sweep("me", 1)
    assert "lost" not in owner.events
    await owner.stop()
    await connection.close()


async def test_each_missing_right_is_named(server: Eyes) -> None:
    for command in sorted(granted() - CLUSTER_ONLY - {"select"}):
        server("ACL", "SETUSER", "doorstep", f"-{command}")
        connection = connect(redis_settings(as_doorstep(server)))
        with pytest.raises(StoreMisconfigured, match=re.escape(f"ACL SETUSER <user> +{command}`")):
            await check_rights(connection)
        await connection.close()
        server("ACL", "SETUSER", "doorstep", f"+{command}")


@pytest.mark.parametrize(
    ("rules", "missing"),
    [
        (["resetkeys", "~other:*"], "~doorstep:*"),
        (["resetchannels", "&other:*"], "&doorstep:*"),
        (["-subscribe", "-xadd"], "+subscribe +xadd"),
    ],
)
async def test_keys_channels_and_several_commands_are_named(
    server: Eyes, rules: list[str], missing: str
) -> None:
    server("ACL", "SETUSER", "doorstep", *rules)
    connection = connect(redis_settings(as_doorstep(server)))
    with pytest.raises(StoreMisconfigured, match=re.escape(f"ACL SETUSER <user> {missing}`")):
        await check_rights(connection)
    await connection.close()


async def test_a_user_without_a_password(server: Eyes) -> None:
    server("ACL", "SETUSER", "doorstep", "nopass")
    connection = connect(redis_settings(as_doorstep(server, login="doorstep")))
    await check_rights(connection)
    assert server("ACL", "WHOAMI") == b"default"
    assert b"user=doorstep" in server("CLIENT", "LIST")
    await connection.close()

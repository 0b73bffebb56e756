"""Offset checkpoints on a real server."""

import pytest

from doorstep.actors.store.checkpoints import Checkpoints
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.redis.errors import StoreLost
from doorstep.actors.store.values import Canary, Checkpoint
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import offsets_in, redis_settings
from tests.conftest import ValkeyFactory
from tests.support.waiting import a_while


async def test_marks_are_kept_by_group_and_partition(connection: Connection) -> None:
    checkpoints = Checkpoints(connection)
    await checkpoints.write("g", {("a/b", 0): 5, ("a/b", 1): 0})
    await checkpoints.write("g", {("a/b", 1): 7, ("c", 1): 2**40})
    await checkpoints.write("h", {("a/b", 0): 9})
    assert await offsets_in(checkpoints, "g") == {("a/b", 0): 5, ("a/b", 1): 7, ("c", 1): 2**40}
    assert await offsets_in(checkpoints, "h") == {("a/b", 0): 9}
    assert await offsets_in(checkpoints, "unheard") == {}


async def test_nothing_to_write(connection: Connection, eyes: Eyes) -> None:
    await Checkpoints(connection).write("g", {})
    assert eyes("DBSIZE") == 2  # the stamp, and its own


async def test_a_seek_back_lowers_a_mark(connection: Connection) -> None:
    checkpoints = Checkpoints(connection)
    await checkpoints.write("g", {("t", 0): 5})
    await checkpoints.write("g", {("t", 0): 3})
    assert await offsets_in(checkpoints, "g") == {("t", 0): 3}


WITNESS = Canary("g", ("!me", 0), 10)


async def test_marks_advance_while_nothing_is_lost(connection: Connection) -> None:
    checkpoints = Checkpoints(connection)
    await checkpoints.write("g", {WITNESS.partition: 10, ("t", 0): 5})
    identity = await checkpoints.server_identity()
    many = {("t", number): 7 for number in range(5000)}
    following = await checkpoints.advance(many, identity, WITNESS)
    assert following == WITNESS._replace(checkpoint=11)
    assert await offsets_in(checkpoints, "g") == many | {WITNESS.partition: 11}
    # an answer that got lost: the same again
    assert await checkpoints.advance({("t", 0): 8}, identity, WITNESS) == following
    assert (await offsets_in(checkpoints, "g"))["t", 0] == 8


@pytest.mark.parametrize("found", [9, 12, None])
async def test_no_mark_advances_where_the_witness_is_gone(connection: Connection, found: int | None) -> None:
    checkpoints = Checkpoints(connection)
    kept = {("t", 0): 5} | ({} if found is None else {WITNESS.partition: found})
    await checkpoints.write("g", kept)
    with pytest.raises(StoreLost, match="canary"):
        await checkpoints.advance({("t", 0): 7}, await checkpoints.server_identity(), WITNESS)
    assert await offsets_in(checkpoints, "g") == kept


async def test_no_mark_advances_on_a_restarted_server(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    connection = connect(redis_settings(server.url))
    checkpoints = Checkpoints(connection)
    await checkpoints.write("g", {WITNESS.partition: 10, ("t", 0): 5})
    before = await checkpoints.server_identity()
    server.stop()
    server.start()
    await a_while(0.05)  # the loop was blocked; it has to see the end of the old link first
    with pytest.raises(StoreLost, match="restarted"):
        await checkpoints.advance({("t", 0): 7}, before, WITNESS)
    assert await offsets_in(checkpoints, "g") == {WITNESS.partition: 10, ("t", 0): 5}
    assert await checkpoints.advance({("t", 0): 7}, await checkpoints.server_identity(), WITNESS)
    await connection.close()


async def test_a_restarted_server_is_another_one(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    connection = connect(redis_settings(server.url))
    checkpoints = Checkpoints(connection)
    await checkpoints.write("g", {("t", 0): 5})
    before = await checkpoints.server_identity()
    assert before == await checkpoints.server_identity() != ""
    server.stop()
    server.start()
    await a_while(0.05)  # the loop was blocked; it has to see the end of the old link first
    assert await checkpoints.server_identity() != before
    assert await offsets_in(checkpoints, "g") == {("t", 0): 5}
    await connection.close()


async def test_checkpoints_know_of_which_topic_they_are(connection: Connection) -> None:
    topic_ids: dict[str, str] = {}
    checkpoints = Checkpoints(connection, topic_ids)
    await checkpoints.write("g", {WITNESS.partition: 10, ("t", 0): 5, ("t", 1): 6})
    topic_ids["t"] = "aB-_9"
    following = await checkpoints.advance({("t", 0): 7}, await checkpoints.server_identity(), WITNESS)
    assert await checkpoints.read("g") == {
        WITNESS.partition: Checkpoint(11),
        ("t", 0): Checkpoint(7, "aB-_9"),
        ("t", 1): Checkpoint(6),
    }
    assert following.is_among(await checkpoints.read("g"))
    assert not WITNESS._replace(checkpoint=12).is_among(await checkpoints.read("g"))

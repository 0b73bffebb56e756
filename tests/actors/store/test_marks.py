"""Offset marks on a real server."""

import asyncio

from doorstep.actors.store.calls import Connection
from doorstep.actors.store.connection import connect
from doorstep.actors.store.marks import Marks
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import redis_settings
from tests.conftest import ValkeyFactory


async def test_marks_are_kept_by_group_and_partition(connection: Connection) -> None:
    marks = Marks(connection)
    await marks.write("g", {("a/b", 0): 5, ("a/b", 1): 0})
    await marks.write("g", {("a/b", 1): 7, ("c", 1): 2**40})
    await marks.write("h", {("a/b", 0): 9})
    assert await marks.read("g") == {("a/b", 0): 5, ("a/b", 1): 7, ("c", 1): 2**40}
    assert await marks.read("h") == {("a/b", 0): 9}
    assert await marks.read("unheard") == {}


async def test_nothing_to_write(connection: Connection, eyes: Eyes) -> None:
    await Marks(connection).write("g", {})
    assert eyes("DBSIZE") == 0


async def test_a_seek_back_lowers_a_mark(connection: Connection) -> None:
    marks = Marks(connection)
    await marks.write("g", {("t", 0): 5})
    await marks.write("g", {("t", 0): 3})
    assert await marks.read("g") == {("t", 0): 3}


async def test_a_restarted_server_is_another_one(valkey_factory: ValkeyFactory) -> None:
    server = valkey_factory()
    connection = connect(redis_settings(server.url))
    marks = Marks(connection)
    await marks.write("g", {("t", 0): 5})
    before = await marks.server_identity()
    assert before == await marks.server_identity() != ""
    server.stop()
    server.start()
    await asyncio.sleep(0.05)  # the loop was blocked; it has to see the end of the old link first
    assert await marks.server_identity() != before
    assert await marks.read("g") == {("t", 0): 5}
    await connection.close()

"""The cells that say of themselves that they live: real server, its clock."""

from doorstep.actors.store import living_cells
from doorstep.actors.store.living_cells import LivingCells
from doorstep.actors.store.redis.calls import Connection
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import KEYS


async def test_who_says_that_it_is_here_is_heard_by_all_until_it_goes(connection: Connection) -> None:
    cells = LivingCells(connection)
    assert await cells.names() == frozenset()
    assert await cells.say_here("b") == {"b"}
    assert await cells.say_here("a") == {"a", "b"}
    assert await cells.say_here("a") == {"a", "b"}
    assert await cells.names() == {"a", "b"}
    assert await cells.say_gone("b") == {"a"}
    assert await cells.say_gone("nobody") == {"a"}


async def test_who_has_not_been_heard_for_long_is_gone_and_nothing_is_left(
    connection: Connection, eyes: Eyes
) -> None:
    cells = LivingCells(connection)
    await cells.say_here("silent")
    assert 0 < eyes("PTTL", KEYS.cells) <= living_cells._HEARD_MS
    eyes("ZINCRBY", KEYS.cells, -living_cells._HEARD_MS, "silent")
    assert await cells.say_here("b") == {"b"}

"""Three machines, each with its cell: nodes come, die and lose a holder in the middle of a stream.

Each has an address of its own, so that users have homes; where they connect all the same is any machine.
"""

import asyncio
from collections.abc import Collection

import psutil

from doorstep.actors.placement.homes import home_of
from doorstep.actors.placement.slots import SLOTS
from tests.cells.site import (
    Site,
    cells,
    home_by,
    is_ready,
    kill_one,
    name_of,
    serving,
    slots_heard,
    somewhere_else,
    until,
)
from tests.cells.trial import trial
from tests.support.machines import Machine
from tests.support.names import Names
from tests.support.plugin import FigureRecorder
from tests.support.waiting import PATIENCE_S


def agree_on_homes(machines: Collection[Machine]) -> bool:
    """Whether each of them sends a number of users home to one of them, and all likewise."""
    names = set(map(name_of, machines))
    users = map(str, range(10))
    return all(home_by(machine, user) == home_of(user, names) for user in users for machine in machines)


async def test_nothing_is_lost_when_a_node_joins_a_holder_dies_and_the_supervisors_node_dies(
    site: Site, names: Names, record_figure: FigureRecorder
) -> None:
    head, second, third = site.machines
    async with serving(site, second, DOORSTEP_GATEWAY__PUBLIC_URL="ws://{node}.school.test") as serve:
        await until(lambda: agree_on_homes([head, second]), "homes at two machines")
        await until(lambda: slots_heard(head) == SLOTS, "each slot heard by one holder")
        async with trial(site, names) as load:
            joining = asyncio.create_task(asyncio.to_thread(site.join, third))
            kill_one(second, "ray::HolderProcess")
            await until(lambda: not is_ready(second), "its node says so")
            await joining
            ready = await until(lambda: is_ready(third), "the new node is ready")
            record_figure("a node's gateway ready after `ray start`", f"{ready:.1f} s")
            await until(lambda: is_ready(second), "the holder is back")
            await until(lambda: agree_on_homes(site.machines), "homes at three machines")

            dying = await somewhere_else(site)
            kill_one(dying, "raylet")
            alive = [machine for machine in site.machines if machine is not dying]
            moved = asyncio.create_task(until(lambda: agree_on_homes(alive), "homes at two machines"))
            gone = await until(lambda: not dying.processes("ray::HolderProcess"), "its actors are gone")
            record_figure("actors gone after their raylet", f"{gone:.1f} s")
            forgotten = await until(lambda: len(cells(head)) == 2, "its cell is forgotten")
            record_figure("a dead node's cell forgotten", f"{forgotten:.1f} s")

            record_figure("homes moved after a raylet was killed", f"{await moved:.1f} s")

            await load.check()
        await until(lambda: slots_heard(head) == SLOTS, "each slot heard by one holder")
        psutil.Process(serve.pid).children()[0].terminate()
        assert await asyncio.to_thread(serve.wait, PATIENCE_S) == 0
        for machine in alive:
            await until(lambda: not machine.processes("ray::HolderProcess"), "its actors end")  # noqa: B023
            assert "doorstep" not in machine.run("ls", "/mnt")

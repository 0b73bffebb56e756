"""Three machines, each with its cell: nodes come, die and lose a holder in the middle of a stream."""

import asyncio

import psutil
import pytest

from tests.cells.site import Site, cells, is_ready, kill_one, serving, somewhere_else, until
from tests.cells.trial import trial
from tests.support.names import Names
from tests.support.plugin import FigureRecorder


@pytest.mark.timeout(240)
async def test_nothing_is_lost_when_a_node_joins_a_holder_dies_and_the_supervisors_node_dies(
    site: Site, names: Names, record_figure: FigureRecorder
) -> None:
    head, second, third = site.machines
    async with serving(site, second) as serve:
        async with trial(site, names) as load:
            joining = asyncio.create_task(asyncio.to_thread(site.join, third))
            kill_one(second, "ray::HolderProcess")
            await until(lambda: not is_ready(second), 5, "its node says so")
            await joining
            ready = await until(lambda: is_ready(third), 30, "the new node is ready")
            record_figure("a node's gateway ready after `ray start`", f"{ready:.1f} s")
            await until(lambda: is_ready(second), 30, "the holder is back")

            dying = await somewhere_else(site)
            kill_one(dying, "raylet")
            gone = await until(lambda: not dying.processes("ray::HolderProcess"), 15, "its actors are gone")
            record_figure("actors gone after their raylet", f"{gone:.1f} s")
            forgotten = await until(lambda: len(cells(head)) == 2, 60, "its cell is forgotten")
            record_figure("a dead node's cell forgotten", f"{forgotten:.1f} s")

            await load.check()
        psutil.Process(serve.pid).children()[0].terminate()
        assert await asyncio.to_thread(serve.wait, 40) == 0
        for machine in {*site.machines} - {dying}:
            assert not machine.processes("ray::HolderProcess")
            assert "doorstep" not in machine.run("ls", "/mnt")

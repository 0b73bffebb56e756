"""What a cluster has to survive, each with a stream of events under way: `make cells`.

Always: nothing lost, nothing twice, nothing out of order, nobody reset; devices that had to move are live
within five seconds; who did not have to notices nothing; and the probes tell the truth within five seconds.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from math import inf
from pathlib import Path
from statistics import median
from time import monotonic

import pytest

from tests.cells.checkout import other_version
from tests.cells.site import (
    Site,
    actors,
    ask,
    cells,
    consumers_on,
    is_ready,
    is_ready_inside,
    kill_one,
    partitions_of,
    serving,
    troubles,
    unreachable,
    until,
    versions,
)
from tests.cells.trial import Trial, p99, trial
from tests.support.machines import Machine
from tests.support.names import Names
from tests.support.plugin import FigureRecorder

pytestmark = pytest.mark.timeout(900)

TRUTH_S = 5.0
LIVE_S = 5.0
P99_S = 0.5
NODE_S = 10.0
ACTORS = ("ray::GatewayProcess", "ray::HolderProcess", "ray::ConsumerProcess", "ray::SupervisorProcess")
LONGEST_S = 90.0
ALL = frozenset(range(8))
CONSUMERS = "3"
"""So many that some partitions stay where they are when a node goes and comes back."""


Begin = Callable[[Trial, str], "Fault"]


class Fault:
    """One fault: what is measured of it goes to the figures of the run, and is judged at the end."""

    def __init__(self, load: Trial, name: str, record: FigureRecorder, missed: list[str]) -> None:
        """It happens now. What is not as it must be is added to `missed`."""
        self._load = load
        self._name = name
        self._record = record
        self._missed = missed
        self.since = monotonic()

    def figure(self, name: str, seconds: float, most_s: float = inf) -> None:
        """So many seconds were measured, and so many are allowed."""
        self._record(f"{self._name}: {name}", f"{seconds:.2f} s")
        if seconds > most_s:
            self._missed.append(f"{self._name}: {name}: {seconds:.2f} s, not {most_s:g}")

    async def told(self, holds: Callable[[], object], what: str, most_s: float = TRUTH_S) -> None:
        """The probes say so, in time."""
        await until(holds, f"{self._name}: {what}", LONGEST_S)
        self.figure(what, monotonic() - self.since, most_s)

    async def moved_are_live(self) -> None:
        """Everybody who lost a connection has one again, in time."""
        await asyncio.sleep(LIVE_S)  # until they all know
        await until(lambda: not any(each.is_away for each in self._load.devices), "all are back", LONGEST_S)
        absences = self._load.absences(self.since)
        self.figure(f"absence of {len(absences)} devices, median", median(absences))
        self.figure(f"absence of {len(absences)} devices, longest", max(absences), LIVE_S)

    def others_notice_nothing(self) -> None:
        """Who kept the connection, and whose partition kept its consumer."""
        devices = self._load.stayed(self.since)
        moved = self._load.owners.moved(self.since)
        untouched = self._load.lateness(self.since, devices, ALL - moved)
        if untouched:
            self.figure(f"p99 of the untouched, {len(ALL - moved)} partitions", p99(untouched), P99_S)
        if moved:
            latest = max(self._load.lateness(self.since, devices, moved))
            self.figure(f"latest event of {len(moved)} partitions that moved", latest)


@pytest.fixture
def fault(record_figure: FigureRecorder) -> Iterator[Begin]:
    """Begins a fault: `fault(load, "holder killed")`. The test fails in the end where anything was missed."""
    missed: list[str] = []
    yield lambda load, name: Fault(load, name, record_figure, missed)
    assert missed == []


def actors_on(machine: Machine) -> list[str]:
    """The processes of actors that there are on a machine."""
    return [process.name() for name in ACTORS for process in machine.processes(name)]


def is_whole(machine: Machine, nodes: int) -> bool:
    """Whether so many nodes have cells with gateways, all is well, and every partition has a consumer, and
    one only."""
    owned = [each for owned in partitions_of(machine).values() for each in owned]
    gateways = [name for name in actors(machine) if name.startswith("gateway")]
    is_well = bool(ask(machine, "/status").get("ok"))
    return (
        is_well and len(cells(machine)) == len(gateways) == nodes and len(owned) == len({*owned}) == len(ALL)
    )


async def test_a_holder_a_consumer_and_a_raylet_are_killed_and_a_node_joins(
    site: Site, names: Names, fault: Begin
) -> None:
    head, second, third = site.machines
    async with serving(site, second), trial(site, names) as load:
        await asyncio.to_thread(site.join, third)
        this = fault(load, "node has joined")
        await this.told(lambda: is_ready(third), "ready after `ray start`", NODE_S)
        this.others_notice_nothing()
        await until(lambda: is_whole(head, 3), "all is well")

        this = fault(load, "holder killed")
        kill_one(second, "ray::HolderProcess")
        await this.told(lambda: not is_ready(second), "its node is not ready")
        await this.moved_are_live()
        this.others_notice_nothing()
        await until(lambda: is_whole(head, 3), "all is well")

        owned = partitions_of(head)
        its_node = next(each for each in site.machines if each.processes("ray::ConsumerProcess"))
        this = fault(load, "consumer killed")
        kill_one(its_node, "ray::ConsumerProcess")
        await this.told(lambda: owned.keys() & unreachable(head), "named in /status")
        (killed,) = owned.keys() & unreachable(head)
        await until(lambda: is_whole(head, 3), "all is well")
        await asyncio.sleep(2)
        moved = {int(each.partition("/")[2]) for each in owned[killed]}
        this.figure("its events were late by", max(load.lateness(this.since, load.devices, moved)))
        this.others_notice_nothing()

        this = fault(load, "raylet killed")
        lost = cells(head)
        kill_one(third, "raylet")
        await this.told(lambda: not is_ready(third), "its node is not ready")
        await this.told(lambda: unreachable(head), "named in /status")
        await this.told(lambda: not actors_on(third), "its actors are gone")
        await this.moved_are_live()
        await until(lambda: is_whole(head, 2), "all is well")
        assert cells(head) < lost
        await load.check()


async def test_the_head_is_away_for_a_minute_and_a_holder_is_killed_meanwhile(
    site: Site, names: Names, fault: Begin
) -> None:
    head, second, third = site.machines
    async with serving(site, second, third), trial(site, names) as load:
        await until(lambda: is_whole(second, 3), "all is well")
        this = fault(load, "head away")
        head.switch_off()
        await this.told(lambda: "ray" in {what for _, what in troubles(second)}, "`ray` in /status")
        await this.moved_are_live()
        assert is_ready(second)
        assert is_ready(third)

        await asyncio.sleep(10)
        meanwhile = fault(load, "holder killed, head away")
        kill_one(second, "ray::HolderProcess")
        await meanwhile.told(lambda: not is_ready(second), "its node is not ready")
        await meanwhile.moved_are_live()
        meanwhile.others_notice_nothing()

        await asyncio.sleep(max(this.since + 60 - monotonic(), 0))
        back = fault(load, "head back")
        head.switch_on()
        await asyncio.to_thread(site.join, head)
        await back.told(lambda: is_whole(second, 3), "all is well", 60)
        back.others_notice_nothing()
        await load.check()


@pytest.mark.parametrize("away_s", [45, 300])
async def test_a_node_is_cut_off_and_comes_back(
    site: Site, names: Names, fault: Begin, away_s: float
) -> None:
    head, second, third = site.machines
    async with serving(site, second, third, DOORSTEP_CONSUMERS=CONSUMERS), trial(site, names) as load:
        await until(lambda: is_whole(head, 3), "all is well")
        this = fault(load, f"node cut off for {away_s:.0f} s")
        third.cut_off()
        await this.told(lambda: not is_ready_inside(third), "it is not ready")
        await this.told(lambda: unreachable(head), "others name its actors")
        await this.moved_are_live()
        await until(lambda: is_whole(head, 2), "all is well without it")
        this.others_notice_nothing()
        await asyncio.sleep(max(this.since + away_s - monotonic(), 0))

        back = fault(load, f"node back after {away_s:.0f} s")
        third.connect()
        await back.told(lambda: not actors_on(third), "its old actors are gone")
        back.others_notice_nothing()
        await asyncio.to_thread(site.join, third)
        await back.told(lambda: is_whole(head, 3), "all is well", 60)
        assert len(third.processes("ray::GatewayProcess")) == 1
        await load.check()


@pytest.mark.parametrize("names_frozen", [["raylet"], ["raylet", *ACTORS]], ids=["raylet", "machine"])
async def test_a_node_is_frozen_until_ray_has_given_it_up(
    site: Site, names: Names, fault: Begin, names_frozen: Sequence[str]
) -> None:
    """Ray takes it for dead while its actors still reach everybody, or as soon as they go on."""
    head, second, third = site.machines
    async with serving(site, second, third, DOORSTEP_CONSUMERS=CONSUMERS), trial(site, names) as load:
        await until(lambda: is_whole(head, 3), "all is well")
        what = "raylet" if names_frozen == ["raylet"] else "machine"
        frozen = [process for name in names_frozen for process in third.processes(name)]
        this = fault(load, f"{what} frozen")
        for process in frozen:
            process.suspend()
        await until(lambda: is_whole(head, 2), "all is well without it")
        this.figure("all is well without it", monotonic() - this.since)
        await this.moved_are_live()
        this.others_notice_nothing()

        back = fault(load, f"{what} goes on")
        if what == "raylet":
            assert actors_on(third) == []
        for process in frozen:
            process.resume()
        await back.told(lambda: not actors_on(third), "its old actors are gone", 10)
        back.others_notice_nothing()
        await asyncio.to_thread(site.join, third)
        await back.told(lambda: is_whole(head, 3), "all is well", 60)
        assert len(third.processes("ray::GatewayProcess")) == 1
        await load.check()


async def test_clients_of_a_node_that_reaches_nobody_else_are_sent_elsewhere(
    site: Site, names: Names, fault: Begin
) -> None:
    head, second, third = site.machines
    others = (site.us, head.address, second.address)
    async with serving(site, second, third, DOORSTEP_CONSUMERS=CONSUMERS), trial(site, names) as load:
        await until(lambda: is_whole(head, 3), "all is well")
        this = fault(load, "node reaches its clients only")
        third.lose(*others)
        await this.told(lambda: not is_ready_inside(third), "it is not ready")
        await this.told(lambda: unreachable(head), "others name its actors")
        await this.told(lambda: not third.processes("ray::HolderProcess"), "its holders have ended", 45)
        await this.moved_are_live()
        this.others_notice_nothing()

        back = fault(load, "node reaches others again")
        third.find(*others)
        await back.told(lambda: not actors_on(third), "its old actors are gone")
        back.others_notice_nothing()
        await asyncio.to_thread(site.join, third)
        await back.told(lambda: is_whole(head, 3), "all is well", 60)
        await load.check()


async def test_one_node_after_the_other_gets_another_version_of_the_code(
    site: Site, names: Names, fault: Begin, tmp_path: Path
) -> None:
    """Each is drained before its plug is pulled. The head is last: what it knows is in its Redis."""
    head, second, third = site.machines
    code = other_version(tmp_path / "other", "9.9.9")
    async with serving(site, second, third), trial(site, names) as load:
        for name, machine, witness, most_s in (
            ("second node", second, head, NODE_S),
            ("third node", third, head, NODE_S),
            ("head", head, second, 60.0),
        ):
            await until(lambda: len(cells(witness)) == 3, "three cells")  # noqa: B023
            this = fault(load, f"{name} drained and gone")
            await asyncio.to_thread(site.doorstep, machine, "drain", "--over", "4s")
            assert not consumers_on(machine, witness)
            await this.moved_are_live()
            await asyncio.to_thread(machine.switch_off)
            this.others_notice_nothing()

            back = fault(load, f"{name} back with another version")
            machine.switch_on()
            await asyncio.to_thread(site.join, machine, code)
            joined = fault(load, f"{name} has joined")
            await joined.told(lambda: is_ready(machine), "ready after `ray start`", most_s)  # noqa: B023
            back.others_notice_nothing()
        await until(lambda: is_whole(second, 3), "all is well", LONGEST_S)
        assert versions(second) == {"9.9.9"}
        await load.check()


async def test_consumers_of_a_drained_node_go_to_others(site: Site, names: Names) -> None:
    head, second, _ = site.machines
    async with serving(site, second), trial(site, names) as load:
        await until(lambda: is_whole(head, 2), "all is well")
        await asyncio.to_thread(site.doorstep, second, "drain", "--over", "2s")
        assert not consumers_on(second, head)
        assert [is_ready(machine) for machine in (head, second)] == [True, False]
        await load.check()


async def test_a_holder_and_a_consumer_are_frozen_for_half_a_minute(
    site: Site, names: Names, fault: Begin
) -> None:
    head, second, _ = site.machines
    async with serving(site, second), trial(site, names) as load:
        await until(lambda: is_whole(head, 2), "all is well")
        for kind in ("Holder", "Consumer"):
            name = f"ray::{kind}Process"
            frozen, *_ = [each for machine in (second, head) for each in machine.processes(name)]
            this = fault(load, f"{kind.lower()} frozen for 30 s")
            frozen.suspend()
            await this.told(lambda: unreachable(head), "named in /status")
            await asyncio.sleep(30)
            back = fault(load, f"{kind.lower()} goes on")
            frozen.resume()
            await back.told(lambda: is_whole(head, 2), "all is well", 30)
            await asyncio.sleep(2)
            this.figure("latest event", max(load.lateness(this.since, load.devices, ALL)))
        await load.check()

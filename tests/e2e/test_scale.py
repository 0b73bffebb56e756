"""Other numbers of holders and consumers under load: only those move who must, and nobody misses anything."""

import asyncio
import math
import os
from collections.abc import Callable, Iterator, Sequence
from time import monotonic

import pytest
import redis

from doorstep.actors.placement.slots import owners, slot_of
from tests.e2e.conftest import Launch
from tests.e2e.load import USERS, Load, load_on
from tests.support.names import Names
from tests.support.owners import watched_owners
from tests.support.plugin import FigureRecorder
from tests.support.publisher import Publisher
from tests.support.records import TEACHER_TOPIC
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service
from tests.support.waiting import until

GROUP = Names().group()
MOST_S = 0.5 if os.environ.get("DOORSTEP_TEST_CELLS") == "1" else math.inf
"""For the p99 of who stays. Beside other tests those who start take the processors: `make cells` judges."""


@pytest.fixture(scope="module")
def service(launch: Launch) -> Iterator[Service]:
    """One for all tests here."""
    with launch(DOORSTEP_DRAIN_S="5", DOORSTEP_KAFKA__GROUP_ID=GROUP) as service:
        yield service


async def scale(service: Service, **numbers: int) -> None:
    arguments = [part for name, number in numbers.items() for part in (f"--{name}", str(number))]
    done = await asyncio.to_thread(service.run, "scale", *arguments)
    assert done.returncode == 0, done.stdout + done.stderr


def is_ready(service: Service) -> bool:
    return service.probe("/readyz") == 200


def misses_no_holder(service: Service) -> bool:
    """Whether `/status` says nothing worse of holders than that they start."""
    states = {each["state"] for each in service.troubles().values() if each["actor"].startswith("holder")}
    return states <= {"starting"}


async def always(holds: Callable[[Service], bool], service: Service) -> None:
    """Ask ten times a second, as a balancer does, until cancelled. Raises where it does not hold."""
    while True:
        assert await asyncio.to_thread(holds, service)
        await asyncio.sleep(0.1)


async def until_moved(load: Load, before: Sequence[int], movers: set[int]) -> None:
    """Wait until all who must have connected once more."""
    await until(lambda: all(load.connects()[which] > before[which] for which in movers))


def partition_of(load: Load, which: int) -> int:
    return load.publisher.partitions[load.users[which].encode()]


async def test_from_one_to_four_to_two_only_those_move_whose_partitions_or_slots_do(
    service: Service, publisher: Publisher, names: Names, broker: KafkaServer, record_figure: FigureRecorder
) -> None:
    """Consumers, and then holders; while more of these start, the node stays ready."""
    async with (
        watched_owners(broker.bootstrap, GROUP, TEACHER_TOPIC) as owned,
        load_on(service, publisher, names) as load,
    ):
        slots = [slot_of(user) for user in load.users]
        for browser in load.browsers:
            await browser.wait_for(1)
        began = monotonic()
        for after in (4, 2):
            await scale(service, consumers=after)
            assert len(await asyncio.to_thread(service.actors, "Consumer")) == after
        between = monotonic()
        untouched_by_consumers = {
            which for which in range(USERS) if partition_of(load, which) not in owned.moved(began)
        }
        untouched = set(range(USERS))
        for before, after in ((1, 4), (4, 2)):
            movers = {n for n in range(USERS) if owners(before)[slots[n]] != owners(after)[slots[n]]}
            connects = load.connects()
            # A holder that goes may stop a moment before its gateway hears of it.
            watched = (is_ready, misses_no_holder) if after > before else ()
            probing = [asyncio.create_task(always(each, service)) for each in watched]
            await scale(service, holders=after)
            await until_moved(load, connects, movers)
            assert [probe.exception() for probe in probing if probe.done()] == []
            for probe in probing:
                probe.cancel()
            assert load.connects() == [count + (which in movers) for which, count in enumerate(connects)]
            assert len(await asyncio.to_thread(service.actors, "Holder")) == after
            untouched -= movers
        ended = monotonic()
    for what, which, begin, end in (
        ("consumers", untouched_by_consumers, began, between),
        ("holders", untouched, between, ended),
    ):
        latencies = load.latencies(which, begin, end)
        p99 = latencies[len(latencies) * 99 // 100]
        record_figure(f"p99 of users who stay, 1 to 4 to 2 {what}", f"{p99 * 1000:.0f} ms")
        assert p99 < MOST_S


def test_what_cannot_be_is_refused_and_changes_nothing(service: Service) -> None:
    before = service.status()["spec"]
    for arguments, said in (
        (["--holders", "0"], "1 to 256 holders, not 0"),
        (["--consumers", "0"], "1 consumer or more"),
        ([], "nothing to change"),
        (["--gateways", "2"], "No such option"),
    ):
        refused = service.run("scale", *arguments)
        assert refused.returncode == 2
        assert said in refused.stderr
    nobody = service.changed(DOORSTEP_REDIS__PREFIX="nobody").run("scale", "--holders", "2")
    assert nobody.returncode == 2
    assert "no fleet has this Redis and the prefix 'nobody'" in nobody.stderr
    assert service.status()["spec"] == before


async def test_a_spec_that_redis_lost_is_written_again_and_stops_nobody(
    service: Service, store: ValkeyServer
) -> None:
    before = service.status()
    with redis.Redis.from_url(store.url) as client:
        client.flushall()
        service.wait_until(lambda: client.keys("*record*"), "the spec")
    service.wait_until_ready()
    after = service.status()
    assert after["spec"] == before["spec"]
    assert {name: actor["process"] for name, actor in after["actors"].items()} == {
        name: actor["process"] for name, actor in before["actors"].items()
    }

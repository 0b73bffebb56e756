"""`@doorstep/client` in real browsers, against a real gateway on real Kafka and Valkey.

Whatever goes wrong, the page ends in the state that RAS has, with nothing shown twice.
"""

import asyncio
import contextlib
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import redis

from tests.conftest import new_valkey
from tests.demo.browser import chromium
from tests.frontend.conftest import running
from tests.frontend.middlebox import Middlebox, Mode
from tests.frontend.school import FAILS_EVERY, IdentityMode, School, Teacher
from tests.support.firefox import firefox
from tests.support.names import Names
from tests.support.plugin import FigureRecorder
from tests.support.publisher import Publisher
from tests.support.remote import PageError, RemoteBrowser, RemoteTab
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service

pytestmark = pytest.mark.alone  # twelve pages, whose clocks are faster, and figures of time

BROWSERS: Mapping[str, Callable[[Path], contextlib.AbstractAsyncContextManager[RemoteBrowser]]] = {
    "chromium": chromium,
    "firefox": firefox,
}
TEACHERS, FILES, KEPT = 3, 30, 100
SPEED = 4
"""So much faster is the clock of the pages."""
SLOW_MS = 2_000
"""Far more than the 50 ms that a page needs on a machine of its own: this one has two cores for all of it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong for one page. Where nothing is `silent`, its connections are closed as it begins."""

    symptom: str
    """JavaScript: whether the page has noticed."""
    box: Mode = "through"
    identity: IdentityMode = "fine"
    strike: str = "0"
    """What the user does then: JavaScript."""
    remedy: str = "0"
    """What the user does when all is well again: JavaScript."""


AWAY = "the user goes to another page and back"
POLLS = "page.state() === 'polling'"
FAULTS: Mapping[str, Fault] = {
    "the socket is killed": Fault("page.states.includes('waiting')"),
    "the network is off": Fault("page.state() === 'waiting'", box="off"),
    "the network is silent": Fault("page.state() !== 'live'", box="silent"),
    "the upgrade is stripped": Fault(POLLS, box="strip"),
    "the upgrade is answered 502": Fault(POLLS, box="refuse"),
    "the upgrade hangs": Fault(POLLS, box="hang"),
    "the socket is cut after 250 ms": Fault(POLLS, box="cut"),
    "the token ends and is not refreshed": Fault("page.asked.includes('rejected')", identity="short"),
    "an old token is given again and again": Fault(
        "page.state() === 'blocked'", identity="cached", remedy="page.connection.retryNow()"
    ),
    "the identity provider is down": Fault(
        "page.connection.status.because?.code === 'token_unavailable'", identity="down"
    ),
    "React's StrictMode starts twice": Fault(
        "page.states.includes('stopped')", strike="(page.connection.stop(), page.connection.start())"
    ),
    AWAY: Fault(
        "location.pathname === '/away.html'",
        strike="setTimeout(() => location.assign('/away.html')) && 0",
        remedy="setTimeout(() => history.back()) && 0",
    ),
}


class Lane:
    """One page of a teacher, on a way of its own to the server, and the fault that strikes it."""

    def __init__(self, name: str, teacher: Teacher, tab: RemoteTab, box: Middlebox, school: School) -> None:
        self.name = name
        self.teacher = teacher
        self._tab = tab
        self._box = box
        self._school = school

    async def open(self, site: str, **options: object) -> None:
        """Returns when it is live."""
        query = {"url": f"http://127.0.0.1:{self._box.port}", "teacher": self.teacher.name, "lane": self.name}
        await self._tab.open(f"{site}?{urlencode(query | options)}")
        await self.until("page.state() === 'live'")

    async def until(self, expression: str) -> None:
        """Wait for it, also across pages. Raises `PageError`."""
        whole = f"document.readyState === 'complete' && {expression}"
        with contextlib.suppress(PageError):  # the old page went while it was asked
            await self._tab.until(whole, wait_s=10)
            return
        try:
            await self._tab.until(whole)
        except PageError as error:
            told = await self.read("[page.states, page.asked, page.loads].join(' / ')")
            raise PageError(f"{self.name}: {told}: {error}") from error

    async def forget(self) -> None:
        """Of what the page was told, all but the notifications' ids."""
        await self._tab.evaluate("page.forget()")

    async def strike(self) -> None:
        """Let its fault happen."""
        fault = FAULTS[self.name]
        await self.forget()
        self._school.identity[self.name] = fault.identity
        self._box.mode = fault.box
        if fault.box != "silent" and fault.strike == "0":
            self._box.close_connections()
        await self._tab.evaluate(fault.strike)

    async def heal(self) -> None:
        """End it."""
        self._school.identity[self.name] = "fine"
        self._box.mode = "through"
        await self._tab.evaluate(FAULTS[self.name].remedy)

    async def shows_the_truth(self) -> None:
        """Raises `PageError` where the page does not become live with what RAS has."""
        truth = json.dumps(self.teacher.truth, separators=(",", ":"))
        await self.until(f"page.state() === 'live' && page.truth() === {json.dumps(truth)}")
        assert await self.read("page.seen.length - new Set(page.seen).size") == 0, f"{self.name}: twice"

    async def loads(self) -> Sequence[str]:
        """Why it loaded its state; not where it did so because no server answered yet."""
        return [str(why) for why in await self._tab.evaluate("page.loads") if why != "unreachable"]

    async def has_loaded_because(self, reasons: Sequence[str]) -> None:
        """Raises `PageError` where it does not load its state, or does so for others than these reasons."""
        await self.until(f"[...new Set(page.loads)].join() === {','.join(reasons)!r}")

    async def numbers(self, expression: str) -> Sequence[float]:
        """The value, as a list of numbers."""
        return [float(each) for each in await self._tab.evaluate(f"[{expression}].flat()")]

    async def read(self, expression: str) -> object:
        """The value."""
        return await self._tab.evaluate(expression)

    async def close(self) -> None:
        """Close the tab."""
        await self._tab.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """The Valkey of the service."""
    server = new_valkey(tmp_path_factory.mktemp("valkey"), appendonly="no")
    server.start()
    try:
        yield server
    finally:
        server.stop()


@pytest.fixture(scope="module")
def service(
    kafka: KafkaServer, store: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Service]:
    """A Doorstep that pages of any origin may use, and that keeps little history."""
    settings = {"DOORSTEP_GATEWAY__ALLOWED_ORIGINS": "*", "DOORSTEP_HISTORY__MAX_COUNT": str(KEPT)}
    service = Service(
        tmp_path_factory.mktemp("doorstep"), kafka.bootstrap, store.url, Names().group(), settings
    )
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture(params=BROWSERS)
async def browser(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RemoteBrowser]:
    """Each browser, with an empty profile."""
    async with BROWSERS[request.param](tmp_path) as started:
        yield started


@pytest.fixture
def teachers(kafka: KafkaServer, names: Names) -> Iterator[Sequence[Teacher]]:
    publisher = Publisher(kafka.bootstrap)
    yield [Teacher(names.user(number), names.batch(number), publisher) for number in range(TEACHERS)]
    publisher.close()


@pytest.fixture
def school(built: Path, tmp_path: Path, teachers: Sequence[Teacher]) -> School:
    """With the built client on its page."""
    directory = tmp_path / "site"
    shutil.copytree(built / "packages" / "client" / "dist", directory / "dist")
    shutil.copy(Path(__file__).with_name("page.html"), directory / "index.html")
    (directory / "away.html").write_text("<!doctype html><p>Another page.")
    return School(teachers, directory)


@pytest.fixture
async def site(school: School) -> AsyncIterator[str]:
    """The address of the page."""
    async with running(school.site) as address:
        yield address


async def all_of(steps: Sequence[Awaitable[None]]) -> None:
    await asyncio.gather(*steps)


async def hand_in(teachers: Sequence[Teacher], count: int) -> None:
    await all_of([teacher.hand_in(count) for teacher in teachers])


async def hand_in_until(teachers: Sequence[Teacher], steps: Sequence[Awaitable[None]]) -> None:
    """One file after the other, until all the steps are done."""
    done = asyncio.gather(*steps)
    while not done.done():
        await hand_in(teachers, 1)
        await asyncio.wait([done], timeout=0.5)
    await done


@dataclass(frozen=True, slots=True)
class World:
    """All that can fail, and the lanes on which it does."""

    service: Service
    store: ValkeyServer
    teachers: Sequence[Teacher]
    lanes: Sequence[Lane]

    async def each(self, step: Callable[[Lane], Awaitable[None]]) -> None:
        """Do it with every lane, at once."""
        await all_of([step(lane) for lane in self.lanes])

    async def figures(self, expression: str) -> Sequence[float]:
        """The numbers of all lanes, sorted."""
        return sorted([number for lane in self.lanes for number in await lane.numbers(expression)])

    async def show_the_truth(self) -> None:
        """Raises where a page does not."""
        await self.each(Lane.shows_the_truth)


@pytest.fixture
async def world(
    browser: RemoteBrowser, service: Service, store: ValkeyServer, school: School, site: str
) -> AsyncIterator[World]:
    """A page for each fault, in turn for each teacher; all live, and with a first event of each topic."""
    async with contextlib.AsyncExitStack() as stack:
        lanes = []
        for name, teacher in zip(FAULTS, itertools.cycle(school.teachers), strict=False):
            box = await stack.enter_async_context(Middlebox(service.address))
            lanes.append(Lane(name, teacher, await browser.tab(), box, school))
        await all_of([lane.open(site, speed=SPEED) for lane in lanes])
        made = World(service, store, school.teachers, lanes)
        await hand_in(school.teachers, FAILS_EVERY)
        await made.show_the_truth()
        yield made


async def lose_the_history(world: World) -> None:
    """More than is kept, while nobody is there."""
    for lane in world.lanes:
        await lane.read("page.connection.stop()")
    await hand_in(world.teachers, KEPT + FILES)
    for lane in world.lanes:
        await lane.read("page.connection.start()")


async def lose_everything(world: World) -> None:
    """FLUSHALL."""
    with redis.Redis.from_url(world.store.url) as client:
        await asyncio.to_thread(client.flushall)


async def lose_a_holder(world: World) -> None:
    """SIGKILL."""
    world.service.kill("Holder")


async def lose_a_gateway(world: World) -> None:
    """SIGKILL."""
    world.service.kill("Gateway")


BEHIND: Mapping[Callable[[World], Awaitable[None]], Sequence[str]] = {
    lose_a_holder: (),
    lose_a_gateway: (),
    lose_the_history: ("reset",),
    lose_everything: ("reset",),
}
"""What goes wrong behind the gateway's door, for all pages at once, and why they load their state then."""


@pytest.mark.timeout(240)
async def test_whatever_fails_every_page_ends_in_the_state_of_ras(
    world: World, record_figure: FigureRecorder, request: pytest.FixtureRequest
) -> None:
    await world.each(lambda lane: lane.forget())
    for _ in range(FILES):
        await hand_in(world.teachers, 1)
    await world.show_the_truth()
    delays = await world.figures("page.delays")

    await world.each(Lane.strike)
    await hand_in_until(world.teachers, [lane.until(FAULTS[lane.name].symptom) for lane in world.lanes])
    await world.each(Lane.heal)
    await hand_in_until(world.teachers, [lane.until("page.state() === 'live'") for lane in world.lanes])
    await world.show_the_truth()
    # Firefox does not keep a page with a WebSocket in its cache, so it begins anew.
    assert {lane.name for lane in world.lanes if await lane.loads()} <= {AWAY}

    for fault, loads in BEHIND.items():
        await world.each(Lane.forget)
        await fault(world)
        await hand_in(world.teachers, FILES // 10)
        await all_of([lane.has_loaded_because(loads) for lane in world.lanes])
        await world.show_the_truth()
    paints = await world.figures("page.recorder.paintMs(0.99)")

    p50, p99 = (delays[int(share * len(delays))] for share in (0.5, 0.99))
    browser = request.node.callspec.params["browser"]
    record_figure(f"{browser}: event to paint without a fault", f"p50 {p50:.0f} ms, p99 {p99:.0f} ms")
    record_figure(f"{browser}: arrival to paint in faults, worst page", f"p99 {paints[-1]:.0f} ms")
    assert p99 < SLOW_MS
    assert paints[-1] < SLOW_MS


def connections_of(service: Service) -> int:
    """How many connections all holders have."""
    counts = re.findall(
        rb"^doorstep_connections(?:\{[^}]*\})? ([0-9.]+)$", service.ask("/metrics"), re.MULTILINE
    )
    return round(sum(map(float, counts)))


async def test_all_tabs_of_a_user_share_one_connection_and_survive_its_tab(
    browser: RemoteBrowser, service: Service, school: School, site: str
) -> None:
    teacher, before = school.teachers[0], connections_of(service)
    async with Middlebox(service.address) as box:
        lanes = [Lane(f"tab {n}", teacher, await browser.tab(), box, school) for n in range(12)]
        for lane in lanes:
            await lane.open(site, isShared=1)
        await teacher.hand_in(1)
        await all_of([lane.shows_the_truth() for lane in lanes])
        assert connections_of(service) == before + 1

        leader, *others = lanes
        await leader.close()
        await teacher.hand_in(FILES)
        await all_of([lane.shows_the_truth() for lane in others])
        assert {tuple(await lane.loads()) for lane in others} == {("start",)}
        assert connections_of(service) == before + 1

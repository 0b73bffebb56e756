"""`@doorstep/client` in real browsers, against a real gateway on real Kafka and Valkey.

Whatever goes wrong, the page ends in the state that RAS has, with nothing shown twice.
"""

import asyncio
import contextlib
import itertools
import json
import random
import re
import shutil
import time
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
from tests.support.pace import slowness
from tests.support.plugin import FigureRecorder
from tests.support.publisher import Publisher
from tests.support.remote import PageError, RemoteBrowser, RemoteTab
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service

pytestmark = pytest.mark.alone  # twelve pages, whose clocks are faster, and figures of time

TEACHERS, FILES, KEPT = 3, 30, 100
TABS = (4, 4, 4, 12)
"""How many tabs each of four users has, three teachers and one who closes none: she sees one of them."""
PACE_S = (0.05, 0.3)
"""From one of her essays to the next."""
SPEED = 4
"""So much faster is the clock of a page while a fault takes long to be noticed, or to be got over."""
LATE_MS = 500
"""From an event to the frame that shows it, in faults in which it can be delivered: 99 of 100."""
PROMPT_MS, EVENTS, ROUNDS = 50, 100, 8
"""The same without a fault: in one of so many rounds, as the machine has other work."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong for one page. Where nothing is `silent`, its connections are closed as it begins.

    Events are `late_ms` late: from when they happen; where nothing can be delivered (`is_cut_off`), from when
    it can be again.
    """

    symptom: str
    """JavaScript: whether the page has noticed."""
    box: Mode = "through"
    identity: IdentityMode = "fine"
    strike: str = "0"
    """What the user does then: JavaScript."""
    remedy: str = "0"
    """What the user does when all is well again, or her browser: JavaScript."""
    speed: int = 1
    late_ms: float = LATE_MS
    is_cut_off: bool = False


AWAY = "the user goes to another page and back"
POLLS = "page.state() === 'polling'"
RETRY = "page.connection.retryNow()"
BACK_ONLINE = "dispatchEvent(new Event('online'))"
FAULTS: Mapping[str, Fault] = {
    "the socket is killed": Fault("page.states.includes('waiting')"),
    # Firefox itself puts off a socket to where one has failed before, the longer the more often.
    "the network is off": Fault(
        "page.state() === 'waiting'", box="off", remedy=BACK_ONLINE, is_cut_off=True, late_ms=3_000
    ),
    "the network is silent": Fault(
        "page.state() !== 'live'", box="silent", speed=SPEED, is_cut_off=True, late_ms=1_000
    ),
    "the upgrade is stripped": Fault(POLLS, box="strip"),
    "the upgrade is answered 502": Fault(POLLS, box="refuse"),
    # A handshake has 8 s.
    "the upgrade hangs": Fault(POLLS, box="hang", speed=SPEED, late_ms=8_000 / SPEED + LATE_MS),
    "the socket is cut after 250 ms": Fault(POLLS, box="cut"),
    "the token ends and is not refreshed": Fault("page.asked.includes('rejected')", identity="short"),
    "an old token is given again and again": Fault(
        "page.state() === 'blocked'", identity="cached", remedy=RETRY, is_cut_off=True
    ),
    "the identity provider is down": Fault(
        "page.connection.status.because?.code === 'token_unavailable'",
        identity="down",
        remedy=RETRY,
        is_cut_off=True,
    ),
    "React's StrictMode starts twice": Fault(
        "page.states.includes('stopped')", strike="(page.connection.stop(), page.connection.start())"
    ),
    AWAY: Fault(
        "location.pathname === '/away.html'",
        strike="setTimeout(() => location.assign('/away.html')) && 0",
        remedy="setTimeout(() => history.back()) && 0",
        is_cut_off=True,
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
        self._healed_ms = 0.0

    async def open(self, site: str, **options: object) -> None:
        """Returns when it is live."""
        query = {
            "url": f"http://{self._box.host}:{self._box.port}",
            "teacher": self.teacher.name,
            "lane": self.name,
        }
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

    async def run(self, speed: int) -> None:
        """Let the clock of the page run so fast."""
        await self._tab.evaluate(f"globalThis.page?.clock.run({speed})")

    async def strike(self) -> None:
        """Let its fault happen."""
        fault = FAULTS[self.name]
        await self.forget()
        self._school.identity[self.name] = fault.identity
        self._box.mode = fault.box
        await self.run(fault.speed)
        if fault.box != "silent" and fault.strike == "0":
            self._box.close_connections()
        await self._tab.evaluate(fault.strike)

    async def heal(self) -> None:
        """End it."""
        self._school.identity[self.name] = "fine"
        self._box.mode = "through"
        self._healed_ms = 1000 * time.time()
        await self._tab.evaluate(FAULTS[self.name].remedy)
        await self.run(SPEED)

    async def show(self) -> None:
        """Let the user look at it, and not at the others of its window."""
        await self._tab.show()
        await self.until("!document.hidden")

    async def late_ms(self) -> Sequence[float]:
        """How late each event was when its frame was on the screen. Of a page that is hidden, none."""
        return await self._since(0)

    async def came_late_ms(self) -> Sequence[float]:
        """The same for when the page, which was seen, had got it."""
        return await self.numbers("page.painted.map(([at, got]) => got - at)")

    async def late_in_fault_ms(self) -> Sequence[float]:
        """The same where its fault has struck; of a lane that was cut off, from when the fault ended."""
        return await self._since(self._healed_ms if FAULTS[self.name].is_cut_off else 0)

    async def _since(self, moment_ms: float) -> Sequence[float]:
        return await self.numbers(f"page.painted.map(([at, , seen]) => seen - Math.max(at, {moment_ms}))")

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
    """A Doorstep that pages of any origin may use, and that keeps little history; one holder may die."""
    settings = {
        "DOORSTEP_GATEWAY__ALLOWED_ORIGINS": "*",
        "DOORSTEP_HISTORY__MAX_COUNT": str(KEPT),
        "DOORSTEP_HOLDERS": "2",
    }
    service = Service(
        tmp_path_factory.mktemp("doorstep"), kafka.bootstrap, store.url, Names().group(), settings
    )
    try:
        service.start()
        yield service
    finally:
        service.stop()


@pytest.fixture
def teachers(kafka: KafkaServer, names: Names) -> Iterator[Sequence[Teacher]]:
    publisher = Publisher(kafka.bootstrap)
    yield [Teacher(names.user(number), names.batch(number), publisher) for number in range(len(TABS))]
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


def share(late: Sequence[float], part: float) -> float:
    """What this part of the sorted numbers does not exceed."""
    return late[int(part * len(late))]


def spread(late: Sequence[float]) -> str:
    """Of sorted milliseconds, in words."""
    return f"p50 {share(late, 0.5):.0f} ms, p99 {share(late, 0.99):.0f} ms, at most {late[-1]:.0f} ms"


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

    async def late_ms(self) -> Sequence[float]:
        """How late the events were on all pages, sorted."""
        return sorted([late for lane in self.lanes for late in await lane.late_ms()])

    async def late_in_faults_ms(self) -> Sequence[float]:
        """The same where the faults have struck. Raises where one was later than its fault can explain."""
        prompt: list[float] = []
        slow = await slowness()
        for lane in self.lanes:
            late, expected = await lane.late_in_fault_ms(), FAULTS[lane.name].late_ms
            assert max(late) < 2 * expected * slow, f"{lane.name}, {slow:.1f} x slow: {late}"
            prompt += late if expected == LATE_MS else ()
        return sorted(prompt)

    async def show_the_truth(self) -> None:
        """Raises where a page does not."""
        await self.each(Lane.shows_the_truth)


@pytest.fixture
async def world(
    browser: RemoteBrowser, service: Service, store: ValkeyServer, school: School, site: str
) -> AsyncIterator[World]:
    """A page for each fault, in turn for each teacher; all live, and with a first event of each topic."""
    teachers = school.teachers[:TEACHERS]
    async with contextlib.AsyncExitStack() as stack:
        lanes = []
        for number, (name, teacher) in enumerate(zip(FAULTS, itertools.cycle(teachers), strict=False)):
            # An address each: Firefox opens one socket to an address at a time, and one lane's hangs.
            box = await stack.enter_async_context(Middlebox(service.address, f"127.0.0.{2 + number}"))
            lanes.append(Lane(name, teacher, await browser.tab(), box, school))
        await all_of([lane.open(site) for lane in lanes])
        made = World(service, store, teachers, lanes)
        await hand_in(teachers, FAILS_EVERY)
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


async def test_whatever_fails_every_page_ends_in_the_state_of_ras(
    world: World, record_figure: FigureRecorder, request: pytest.FixtureRequest
) -> None:
    await world.each(lambda lane: lane.forget())
    for _ in range(FILES):
        await hand_in(world.teachers, 1)
    await world.show_the_truth()
    well = await world.late_ms()

    await world.each(Lane.strike)
    await hand_in_until(world.teachers, [lane.until(FAULTS[lane.name].symptom) for lane in world.lanes])
    await world.each(Lane.heal)
    await hand_in_until(world.teachers, [lane.until("page.state() === 'live'") for lane in world.lanes])
    await hand_in(
        world.teachers, 1
    )  # for a page that has begun anew, and of what came before has the state only
    await world.show_the_truth()
    struck = await world.late_in_faults_ms()
    # Firefox keeps no page with an open WebSocket, so that one begins anew.
    assert {lane.name for lane in world.lanes if await lane.loads()} <= {AWAY}

    for fault, loads in BEHIND.items():
        await world.each(Lane.forget)
        await fault(world)
        await hand_in(world.teachers, FILES // 10)
        await all_of([lane.has_loaded_because(loads) for lane in world.lanes])
        await world.show_the_truth()
        struck = sorted([*struck, *await world.late_ms()])

    browser = request.node.callspec.params["browser"]
    record_figure(f"{browser}, twelve pages: event to paint without a fault", spread(well))
    record_figure(f"{browser}, twelve pages: event to paint in faults", spread(struck))
    # Twelve pages on two cores.
    assert share(struck, 0.99) < LATE_MS * await slowness() + share(well, 0.5), spread(struck)


async def lateness(lane: Lane) -> Sequence[float]:
    """Of one event after the other, sorted."""
    await lane.forget()
    for _ in range(EVENTS):
        await lane.teacher.hand_in(1)
        await asyncio.sleep(random.uniform(0.01, 0.04))
    await lane.shows_the_truth()
    return sorted(await lane.late_ms())


@pytest.fixture
async def only_page(
    browser: RemoteBrowser, service: Service, school: School, site: str
) -> AsyncIterator[Lane]:
    """The only one that is open; it has had a first event of each topic."""
    async with Middlebox(service.address) as box:
        lane = Lane("the only page", school.teachers[0], await browser.tab(), box, school)
        await lane.open(site)
        await lane.teacher.hand_in(FAILS_EVERY)
        await lane.shows_the_truth()
        yield lane


@pytest.mark.usefixtures("without_coverage")
async def test_without_a_fault_a_page_shows_an_event_within_50_ms(
    only_page: Lane, record_figure: FigureRecorder, request: pytest.FixtureRequest
) -> None:
    limit_ms = PROMPT_MS * await slowness()
    best = await lateness(only_page)
    for _ in range(ROUNDS - 1):
        if share(best, 0.99) >= limit_ms:
            best = min(best, await lateness(only_page), key=lambda late: share(late, 0.99))

    name = f"{request.node.callspec.params['browser']}, one page: event to paint"
    record_figure(name, f"{spread(best)} (limit: p99 {limit_ms:.0f} ms)")
    assert share(best, 0.99) < limit_ms, spread(best)


def connections_of(service: Service) -> int:
    """How many connections all holders have."""
    counts = re.findall(
        rb"^doorstep_connections(?:\{[^}]*\})? ([0-9.]+)$", service.ask("/metrics"), re.MULTILINE
    )
    return round(sum(map(float, counts)))


async def connections_become(service: Service, count: int) -> None:
    """Raises where the holders do not get to have so many connections."""
    for _ in range(100):
        if await asyncio.to_thread(connections_of, service) == count:
            return
        await asyncio.sleep(0.2)
    pytest.fail(f"{connections_of(service)} connections, not {count}")


async def window(
    browser: RemoteBrowser, teacher: Teacher, box: Middlebox, school: School, site: str, *, tabs: int
) -> Sequence[Lane]:
    """So many tabs of a user in one window; she sees the last one, and the first one has the connection."""
    lanes: list[Lane] = []
    tab = None
    for number in range(tabs):
        tab = await browser.tab(beside=tab)
        lanes.append(Lane(f"tab {number} of {teacher.name}", teacher, tab, box, school))
        await lanes[-1].open(site, isShared=1)
    await teacher.hand_in(FAILS_EVERY)
    await all_of([lane.shows_the_truth() for lane in lanes])
    assert [await lane.read("document.hidden") for lane in lanes] == [True] * (tabs - 1) + [False]
    return lanes


async def hand_in_slowly(teacher: Teacher) -> None:
    """All her files, as they become essays."""
    for _ in range(FILES):
        await teacher.hand_in(1)
        await asyncio.sleep(random.uniform(*PACE_S))


async def morning(windows: Sequence[Sequence[Lane]]) -> tuple[Sequence[float], Sequence[float]]:
    """Everybody hands in. Of the pages that are seen, sorted: how late events came, and were shown."""
    lanes = [lane for tabs in windows for lane in tabs]
    await all_of([lane.forget() for lane in lanes])
    await all_of([hand_in_slowly(tabs[0].teacher) for tabs in windows])
    await all_of([lane.shows_the_truth() for lane in lanes])
    came = [late for lane in lanes for late in await lane.came_late_ms()]
    shown = [late for lane in lanes for late in await lane.late_ms()]
    assert len(shown) == len(windows) * FILES  # hidden pages have all of it, and paint nothing
    return sorted(came), sorted(shown)


@pytest.fixture
async def windows(
    browser: RemoteBrowser, service: Service, school: School, site: str
) -> AsyncIterator[Mapping[Middlebox, Sequence[Lane]]]:
    """One of each user, and the way of its connection to the server. There are no other connections."""
    await connections_become(service, 0)
    async with contextlib.AsyncExitStack() as stack:
        made = {}
        for teacher, tabs in zip(school.teachers, TABS, strict=True):
            box = await stack.enter_async_context(Middlebox(service.address))
            made[box] = await window(browser, teacher, box, school, site, tabs=tabs)
        yield made


@pytest.mark.usefixtures("without_coverage")
async def test_users_with_many_tabs_see_events_in_the_one_in_front_and_have_one_connection_each(
    windows: Mapping[Middlebox, Sequence[Lane]],
    service: Service,
    record_figure: FigureRecorder,
    request: pytest.FixtureRequest,
) -> None:
    all_tabs = [*windows.values()]
    await connections_become(service, len(TABS))
    limit_ms = PROMPT_MS * await slowness()
    came, well = await morning(all_tabs)
    for _ in range(ROUNDS - 1):
        if share(well, 0.99) >= limit_ms:
            came, well = min((came, well), await morning(all_tabs), key=lambda late: share(late[1], 0.99))
    name = f"{request.node.callspec.params['browser']}, {sum(TABS)} tabs in {len(TABS)} windows"
    record_figure(f"{name}: event to page", spread(came))
    record_figure(f"{name}: event to paint", f"{spread(well)} (limit: p99 {limit_ms:.0f} ms)")
    assert share(well, 0.99) < limit_ms, spread(well)

    for box in windows:
        box.close_connections()
    _, struck = await morning(all_tabs)
    assert share(struck, 0.99) < LATE_MS * await slowness() + share(well, 0.5), spread(struck)
    await connections_become(service, len(TABS))

    *others, seen = all_tabs[-1]
    await seen.close()
    await seen.teacher.hand_in(FILES)
    await all_of([lane.shows_the_truth() for lane in others])
    assert {tuple(await lane.loads()) for lane in others} == {()}
    await connections_become(service, len(TABS))


def drowsy_chromium(directory: Path) -> contextlib.AbstractAsyncContextManager[RemoteBrowser]:
    """Chromium that wakes a page once a minute when it was hidden for a second, instead of five minutes."""
    return chromium(directory, "--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/1")


@pytest.mark.parametrize("start", [chromium, drowsy_chromium, firefox])
async def test_a_connection_that_a_hidden_tab_loses_makes_the_seen_one_no_later(
    start: Callable[[Path], contextlib.AbstractAsyncContextManager[RemoteBrowser]],
    service: Service,
    school: School,
    site: str,
    tmp_path: Path,
) -> None:
    teacher, latest = school.teachers[0], []
    async with start(tmp_path) as browser, Middlebox(service.address) as box:
        one, other = await window(browser, teacher, box, school, site, tabs=2)
        for hidden, seen in ((one, other), (other, one)):
            await seen.show()
            await seen.shows_the_truth()
            await asyncio.sleep(2)  # until the other one's timers are late
            await all_of([hidden.forget(), seen.forget()])
            box.close_connections()
            for _ in range(FILES):
                await teacher.hand_in(1)
                await asyncio.sleep(0.03)
            await seen.shows_the_truth()
            assert await seen.read("page.states.at(-1)") == "live"  # it has taken the lead
            latest.append(max(await seen.late_ms()))
            assert await hidden.late_ms() == []
        await hidden.show()
        await hidden.shows_the_truth()
        assert min(latest) < LATE_MS * await slowness(), latest

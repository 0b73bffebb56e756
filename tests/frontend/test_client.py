"""`@doorstep/client` in a real browser, against a real gateway on real Kafka and Valkey."""

import asyncio
import itertools
import json
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.conftest import new_valkey
from tests.demo.browser import Browser, Tab
from tests.frontend.conftest import serving
from tests.frontend.middlebox import Middlebox, Mode
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import teacher_notification
from tests.support.servers import KafkaServer
from tests.support.service import Service, token_for

PAGE = """<!doctype html><meta charset="utf-8"><title>test</title><body><script type="module">
import { connect } from "./dist/index.js";
import { tabs } from "./dist/tabs/index.js";
const seen = [], loads = [], states = [], asked = [];
window.page = { seen, loads, states, asked };
window.open_ = ({ url, tokens, isShared = false, speed = 1 }) => {
  const connection = connect({
    url,
    // The tokens for each reason; the last one is given again and again, and of an empty list nothing comes.
    token: (why) => {
      asked.push(why);
      const mine = tokens[why] ?? tokens.connect;
      return mine.length ? (mine.length > 1 ? mine.shift() : mine[0]) : new Promise(() => {});
    },
    load: (why) => void loads.push(why),
    clock: {
      now: () => performance.now() * speed,
      setTimeout: (callback, ms) => setTimeout(callback, ms / speed),
      clearTimeout: (timer) => clearTimeout(timer),
      random: Math.random,
    },
    ...(isShared && { tabs: tabs() }),
  });
  connection.onAny(({ data }) => seen.push(data.number));
  connection.subscribe(() => states.push(connection.status.state));
  connection.start();
  window.page.connection = connection;
};
</script>"""


class Page:
    """A teacher's tab with a connection; what it was told is in `window.page`."""

    def __init__(self, tab: Tab) -> None:
        self._tab = tab

    async def connect(self, url: str, tokens: dict[str, list[str]], **options: object) -> None:
        await self._tab.until("Boolean(window.open_)")
        await self._tab.evaluate(f"open_({json.dumps({'url': url, 'tokens': tokens, **options})})")

    async def becomes(self, state: str) -> None:
        await self._tab.until(f"page.connection.status.state === {state!r}")

    async def is_asked(self, why: str) -> None:
        await self._tab.until(f"page.asked.includes({why!r})")

    async def seen(self, last: int) -> list[int]:
        """The numbers of all notifications, once the `last` one is there."""
        await self._tab.until(f"page.seen.includes({last})")
        return [int(number) for number in await self._tab.evaluate("page.seen")]

    async def told(self, what: str) -> list[str]:
        """The `loads`, `states` or reasons `asked` so far."""
        return [str(it) for it in await self._tab.evaluate(f"page.{what}")]

    async def close(self) -> None:
        await self._tab.call("Page.close")


class Teacher:
    """A user to whom numbered notifications are sent: 1, 2, 3 …"""

    def __init__(self, name: str, publisher: Publisher) -> None:
        self.name = name
        self._publisher = publisher
        self._numbers = itertools.count(1)

    def notify(self) -> int:
        """Publish the next one; its number."""
        number = next(self._numbers)
        self._publisher.send_all([teacher_notification(self.name, {"number": number})])
        return number

    async def notify_until(self, done: asyncio.Future[None]) -> int:
        """Publish one after the other until something is done; the number of the last."""
        while not done.done():
            number = await asyncio.to_thread(self.notify)
            await asyncio.wait([done], timeout=0.1)
        await done
        return number


@pytest.fixture(scope="module")
def service(kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A Doorstep that pages of any origin may use."""
    store = new_valkey(tmp_path_factory.mktemp("valkey"), appendonly="no")
    store.start()
    settings = {"DOORSTEP_GATEWAY__ALLOWED_ORIGINS": "*"}
    service = Service(
        tmp_path_factory.mktemp("doorstep"), kafka.bootstrap, store.url, Names().group(), settings
    )
    try:
        service.start()
        yield service
    finally:
        service.stop()
        store.stop()


@pytest.fixture
async def site(built: Path, tmp_path: Path) -> AsyncIterator[str]:
    """The address of a page with the built client."""
    directory = tmp_path / "site"
    shutil.copytree(built / "packages" / "client" / "dist", directory / "dist")
    (directory / "index.html").write_text(PAGE)
    async with serving(directory) as address:
        yield address


@pytest.fixture
def teacher(kafka: KafkaServer, names: Names) -> Iterator[Teacher]:
    publisher = Publisher(kafka.bootstrap)
    yield Teacher(names.user("teacher"), publisher)
    publisher.close()


async def open_page(browser: Browser, site: str) -> Page:
    tab = await browser.tab()
    await tab.open(site)
    return Page(tab)


def tokens_of(user: str) -> dict[str, list[str]]:
    return {"connect": [token_for(user)]}


def connections_of(service: Service) -> int:
    """How many connections all holders have."""
    counts = re.findall(
        rb"^doorstep_connections(?:\{[^}]*\})? ([0-9.]+)$", service.ask("/metrics"), re.MULTILINE
    )
    return round(sum(map(float, counts)))


async def test_a_notification_is_there_at_once_and_a_killed_holder_costs_none(
    service: Service, site: str, browser: Browser, teacher: Teacher
) -> None:
    page = await open_page(browser, site)
    await page.connect(f"http://{service.address}", tokens_of(teacher.name))
    await page.becomes("live")
    assert await page.seen(await asyncio.to_thread(teacher.notify)) == [1]
    service.kill("Holder")
    last = [await asyncio.to_thread(teacher.notify) for _ in range(3)][-1]
    assert await page.seen(last) == [1, 2, 3, 4]
    assert await page.told("loads") == ["start"]


@pytest.mark.parametrize("mode", ["refuse", "strip", "hang", "cut"])
async def test_where_websockets_do_not_get_through_it_polls_and_returns_to_them(
    service: Service, site: str, browser: Browser, teacher: Teacher, mode: Mode
) -> None:
    page = await open_page(browser, site)
    async with Middlebox(service.address, mode) as box:
        await page.connect(f"http://127.0.0.1:{box.port}", tokens_of(teacher.name), speed=4)
        polling = asyncio.ensure_future(page.becomes("polling"))
        await teacher.notify_until(polling)
        box.mode = "through"
        last = await teacher.notify_until(asyncio.ensure_future(page.becomes("live")))
        numbers = await page.seen(last)
    assert numbers == list(range(numbers[0], last + 1))
    # An upgrade that hangs leaves the page without a server for so long that it loads before it has a cursor.
    assert [why for why in await page.told("loads") if why != "unreachable"] == ["start"]


async def test_a_token_that_ran_out_is_replaced(
    service: Service, site: str, browser: Browser, teacher: Teacher
) -> None:
    page = await open_page(browser, site)
    fresh = token_for(teacher.name)
    tokens = {"connect": [token_for(teacher.name, ttl_s=3)], "refresh": [], "rejected": [fresh]}
    await page.connect(f"http://{service.address}", tokens)
    await page.becomes("live")
    first = await page.seen(await asyncio.to_thread(teacher.notify))
    done = asyncio.ensure_future(page.is_asked("rejected"))
    last = await teacher.notify_until(done)
    assert await page.seen(last) == [*first, *range(first[-1] + 1, last + 1)]
    assert await page.told("loads") == ["start"]


@pytest.mark.parametrize("count", [2, 12])
async def test_all_tabs_of_a_user_share_one_connection_and_survive_its_tab(
    service: Service, site: str, browser: Browser, teacher: Teacher, count: int
) -> None:
    before = connections_of(service)
    pages = []
    for _ in range(count):
        page = await open_page(browser, site)
        await page.connect(f"http://{service.address}", tokens_of(teacher.name), isShared=True)
        await page.becomes("live")
        pages.append(page)
    number = await asyncio.to_thread(teacher.notify)
    for page in pages:
        assert await page.seen(number) == [number]
    assert connections_of(service) == before + 1

    leader, *others = pages
    await leader.close()
    last = [await asyncio.to_thread(teacher.notify) for _ in range(3)][-1]
    for page in others:
        assert await page.seen(last) == list(range(number, last + 1))
        assert await page.told("loads") == ["start"]
    assert connections_of(service) == before + 1

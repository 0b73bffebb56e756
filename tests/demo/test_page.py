"""The page in a real browser, on the whole demo: what a teacher does, and what she sees."""

import signal
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from doorstep.development.valkey import ValkeyProcess
from tests.demo.browser import Tab
from tests.demo.command import DemoCommand
from tests.frontend.conftest import ARTIFACTS, BROWSERS, what_axe_finds
from tests.frontend.middlebox import Middlebox, Mode
from tests.support.remote import RemoteBrowser, RemoteTab

ASTRID, JONAS, MIRA = "teacher-astrid-berg", "teacher-jonas-ekstrom", "teacher-mira-haddad"

FETCHED = "document.querySelector('#essays')?.ariaBusy === 'false'"
SAMPLES = "document.querySelector('.send button.main').click()"
NO_ESSAYS = "document.querySelectorAll('.send .buttons button')[1].click()"
CUT = "document.querySelectorAll('.network button')[0].click()"
SILENT = "document.querySelectorAll('.network button')[1].click()"

COUNT_SOCKETS = """
window.sockets = 0;
const Real = WebSocket;
window.WebSocket = class extends Real {
  constructor(url, protocols) {
    super(url.replace(%(port)r, %(box)r), protocols);
    window.sockets += 1;
  }
};
"""
"""Before anything else of the page: its sockets go to another port, and are counted."""

NO_NETWORK = """
window.isAway = true;
const ask = fetch;
window.fetch = (...asked) => (isAway ? Promise.reject(new TypeError("Failed to fetch")) : ask(...asked));
"""
"""No service is reached."""

LOSE_AN_ANSWER = """
const send = XMLHttpRequest.prototype.send;
let isLost = false;
XMLHttpRequest.prototype.send = function (body) {
  if (!isLost) Object.defineProperty(this, "status", { get: () => 0 });
  isLost = true;
  send.call(this, body);
};
"""
"""The first upload arrives, and its answer does not."""


@pytest.fixture(scope="module")
def valkey_of_demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """A Valkey that the tests can reach behind the demo's back."""
    server = ValkeyProcess(tmp_path_factory.mktemp("valkey"))
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def demo(valkey_of_demo: ValkeyProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoCommand]:
    """One running demo for all tests of the page; each has a teacher of its own."""
    directory = tmp_path_factory.mktemp("demo")
    with closing(DemoCommand(directory, DOORSTEP_REDIS__URL=valkey_of_demo.url)) as command:
        command.start()
        yield command
        command.end(signal.SIGTERM)
        assert command.survivors() == []


in_firefox = pytest.mark.parametrize("browser", ["firefox"], indirect=True)
in_both = pytest.mark.parametrize("browser", BROWSERS, indirect=True)


@pytest.fixture
async def browser(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RemoteBrowser]:
    """A browser with an empty profile; Chromium where a test names none."""
    async with BROWSERS[getattr(request, "param", "chromium")](tmp_path) as running:
        yield running


def of_chromium(tab: RemoteTab) -> Tab:
    """Can drop files, throttle the network, prefer dark."""
    assert isinstance(tab, Tab)
    return tab


def state(*wanted: str) -> str:
    """JavaScript: whether the page says that the connection is so."""
    return f"{list(wanted)}.includes(document.querySelector('.ds-status')?.dataset.state)"


LIVE = state("live")


def rows(status: str = "") -> str:
    """JavaScript: the rows of files, those with this status."""
    return f"[...document.querySelectorAll('tbody tr{f'[data-status={status}]' if status else ''}')]"


def settled(essays: int, failed: int) -> str:
    """JavaScript: whether there are so many of each, and no file is on its way."""
    return f"{rows('assigned')}.length === {essays} && {all_settled(essays + failed)}"


def all_settled(files: int) -> str:
    """JavaScript: whether there are so many files, and none is on its way."""
    under_way = f"{rows('uploading')}.length + {rows('processing')}.length"
    return f"{rows()}.length === {files} && {under_way} === 0"


async def fates(tab: RemoteTab) -> dict[str, tuple[str, str]]:
    """By file name: status, and what the row says of it."""
    script = (
        f"{rows()}.map(row => [row.querySelector('.ds-name').textContent, row.dataset.status,"
        " row.querySelector('td').firstElementChild.textContent])"
    )
    return {name: (status, text) for name, status, text in await tab.evaluate(script)}


async def signed_in(browser: RemoteBrowser, demo: DemoCommand, user_id: str, script: str = "") -> RemoteTab:
    """A page of a teacher, connected, with all it has to show; `script` ran before it."""
    tab = await opened(browser, demo, user_id, script)
    await tab.until(f"{LIVE} && {FETCHED}")
    return tab


async def opened(browser: RemoteBrowser, demo: DemoCommand, user_id: str, script: str = "") -> RemoteTab:
    """A page of a teacher; returns at once."""
    tab = await browser.tab()
    await tab.size(1280, 900)
    await tab.preload(script)
    await tab.open(f"{demo.url}/?teacher={user_id}")
    return tab


async def count(tab: RemoteTab, status: str = "") -> int:
    """How many files have this status."""
    return int(await tab.evaluate(f"{rows(status)}.length"))


def essays(directory: Path) -> list[Path]:
    """Two essays, and two files that are none."""
    contents = {
        "Åsa's <b>best.txt": b"An essay.",
        "Ben.txt": b"Another one.",
        "empty.txt": b"",
        "photo.jpg": b"\xff\xd8\xff\xe0",
    }
    paths = [directory / name for name in contents]
    for path, content in zip(paths, contents.values(), strict=True):
        path.write_bytes(content)
    return paths


async def test_a_teacher_drops_files_and_sees_each_become_an_essay(
    browser: RemoteBrowser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = of_chromium(await signed_in(browser, demo, ASTRID))
    other_tab = await signed_in(browser, demo, ASTRID)
    colleague = await signed_in(browser, demo, JONAS)
    await tab.drop(".ds-picker", essays(tmp_path))
    await tab.until(settled(2, 2))
    seen = await fates(tab)
    assert [status for status, _ in seen.values()] == ["assigned", "assigned", "failed", "failed"]
    assert seen["empty.txt"] == ("failed", "The file has no text in it.")
    assert seen["photo.jpg"][1].startswith("The file is not plain text in UTF-8")
    await other_tab.until(settled(2, 2))
    assert await fates(other_tab) == seen
    assert await fates(colleague) == {}
    await tab.drop("#essays", essays(tmp_path)[:1])  # beside the place that is meant for it
    await tab.until(settled(3, 2))


async def test_a_morning_arrives_is_measured_and_looks_well(
    browser: RemoteBrowser, demo: DemoCommand
) -> None:
    tab = await signed_in(browser, demo, MIRA)
    await look(tab, "empty")
    await tab.evaluate(SAMPLES)
    await tab.until(settled(30, 0))
    await tab.evaluate(NO_ESSAYS)
    await tab.until(settled(30, 2))
    essays_shown = await tab.evaluate(
        f"{rows('assigned')}.map(row => row.querySelector('td code').innerText)"
    )
    assert len({essay for essay in essays_shown if len(essay) == 36}) == 30
    await tab.until("document.querySelector('#shown').textContent === '32'")
    times = await tab.evaluate(
        "[...document.querySelectorAll('.figures dd')].map(one => Number(one.textContent))"
    )
    assert 0 < times[0] <= times[1] <= times[2] < 5000
    await look(tab, "morning")
    await tab.evaluate(f"{rows('assigned')}[0].querySelector('.act').click()")
    await tab.until("document.querySelector('dialog').open")
    await look(tab, "way")
    await tab.evaluate("document.querySelector('dialog form button').click()")
    await tab.evaluate(CUT)
    await tab.evaluate(NO_ESSAYS)
    await tab.until("document.querySelector('.again') !== null")
    await tab.until(state("waiting"))
    await look(tab, "cut")


@in_firefox
async def test_a_morning_looks_well_in_firefox(browser: RemoteBrowser, demo: DemoCommand) -> None:
    tab = await signed_in(browser, demo, JONAS)
    before = await count(tab)
    await tab.evaluate(SAMPLES)
    await tab.until(all_settled(before + 30))
    await tab.until("document.querySelector('#shown').textContent === '30'")
    await look(tab, "firefox-morning")
    await tab.evaluate(f"{rows('assigned')}[0].querySelector('.act').focus()")
    await tab.press("Enter", "\r")
    await tab.until("document.querySelectorAll('dialog[open] .steps .at').length === 6")
    later = await tab.evaluate(
        "[...document.querySelectorAll('.steps .at')].slice(1).map(one => one.innerText)"
    )
    assert [text[:2] for text in later] == ["+ "] * 5, later
    await look(tab, "firefox-way")
    await tab.press("Escape")
    await tab.until("document.activeElement.innerText === 'What happened?'")
    await tab.evaluate(CUT)
    await tab.until(state("waiting"))
    await tab.evaluate(CUT)  # whole again
    await tab.until(LIVE)


SCREENS: Mapping[str, tuple[int, Mapping[str, bool]]] = {
    "": (1280, {}),
    "-dark": (1280, {"dark": True}),
    "-forced-colours": (1280, {"forced_colours": True}),
    "-phone": (375, {}),
    "-small": (320, {"dark": True}),
}
"""Width in CSS pixels, and what the user prefers, of which Firefox can be told nothing."""


async def look(tab: RemoteTab, name: str) -> None:
    """Axe finds nothing and nothing is too wide; a picture of each screen is taken."""
    for screen, (width, wishes) in SCREENS.items():
        if isinstance(tab, Tab):
            await tab.size(width, 860, **wishes)
        elif wishes:
            continue
        else:
            await tab.size(width, 860)
        found = await what_axe_finds(tab)
        assert found == "[]", f"{name}{screen}: {found}"
        assert await tab.evaluate("document.documentElement.scrollWidth") <= width
        await tab.screenshot(ARTIFACTS / f"demo-{name}{screen}.png")
    await tab.size(1280, 900)


async def test_who_cant_reach_the_demo_is_told_so_and_tries_again(
    browser: RemoteBrowser, demo: DemoCommand
) -> None:
    tab = await opened(browser, demo, ASTRID, NO_NETWORK)
    await tab.until("document.querySelector('.start button') !== null")
    await look(tab, "start")
    await tab.evaluate("isAway = false")
    await tab.evaluate("document.querySelector('.start button').focus()")
    await tab.press("Enter", "\r")
    await tab.until(LIVE)


async def test_what_happened_to_a_file_is_told_from_upload_to_paint(
    browser: RemoteBrowser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = of_chromium(await signed_in(browser, demo, JONAS))
    before = await count(tab)
    await tab.choose(".ds-picker input", essays(tmp_path)[:1])
    await tab.until(all_settled(before + 1))  # before that, its button stops the upload
    await tab.evaluate("document.querySelector('tbody .act').focus()")
    await tab.press("Enter", "\r")
    await tab.until("document.querySelector('dialog').open")
    await tab.until("document.querySelector('.steps li:last-child .what').textContent === 'On the screen'")
    steps = await tab.evaluate("[...document.querySelectorAll('.steps .what')].map(step => step.textContent)")
    assert (steps[0], steps[-2:]) == ("Chosen", ["The notification arrived", "On the screen"])
    ids = await tab.evaluate(
        "Object.fromEntries([...document.querySelectorAll('.ids div')].map(one =>"
        " [one.querySelector('dt').innerText, one.querySelector('code').innerText]))"
    )
    shown = await tab.evaluate(
        "[...document.querySelector('tbody tr').querySelectorAll('code')].map(one => one.innerText)"
    )
    assert shown == [ids["Tracking id of the file"], ids["Essay"]]
    assert len(ids["Correlation id"]) == 36
    await tab.call("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
    await tab.evaluate("document.querySelector('.ids .act').click()")
    await tab.until("document.querySelector('.ids .act').textContent === 'Copied'")
    assert await tab.evaluate("navigator.clipboard.readText()") == shown[0]
    await tab.press("Escape")
    await tab.until("document.activeElement === document.querySelector('tbody .act')")


@in_firefox
async def test_the_list_is_there_again_after_a_reload(
    browser: RemoteBrowser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = await signed_in(browser, demo, JONAS)
    before = await count(tab)
    await tab.choose(".ds-picker input", essays(tmp_path))
    await tab.until(f"{all_settled(before + 4)}")
    seen = await fates(tab)
    await tab.reload()
    await tab.until(f"{FETCHED} && {all_settled(before + 4)}")
    assert await fates(tab) == seen


@in_both
async def test_all_of_it_works_with_the_keyboard(browser: RemoteBrowser, demo: DemoCommand) -> None:
    tab = await signed_in(browser, demo, JONAS)
    order = []
    for _ in range(6):
        await tab.press("Tab")
        order.append(await tab.evaluate("document.activeElement.value || document.activeElement.innerText"))
    assert order[1] == JONAS
    assert order[3:] == [
        "Send 30 sample essays",
        "Send two that are no essays",
        "A whole school\N{RIGHT SINGLE QUOTATION MARK}s morning",
    ]
    before = await count(tab, "failed")
    await tab.evaluate("document.querySelectorAll('.send .buttons button')[1].focus()")
    await tab.press("Enter", "\r")
    await tab.until(f"{rows('failed')}.length === {before + 2}")
    await tab.evaluate("document.querySelector('input:checked').focus()")
    await tab.press("ArrowDown")
    await tab.until(f"location.search === '?teacher={MIRA}'")
    await tab.until(f"{LIVE} && document.activeElement.value === '{MIRA}'")


async def test_a_link_within_the_page_signs_in_nobody(browser: RemoteBrowser, demo: DemoCommand) -> None:
    tab = await signed_in(browser, demo, MIRA)
    await tab.evaluate("document.querySelector('.skip').click()")
    await tab.until("document.activeElement.id === 'essays'")
    await tab.reload()
    await tab.until(f"{FETCHED} && location.hash === '#essays'")
    assert await tab.evaluate("document.querySelector('input:checked').value") == MIRA


async def test_the_page_comes_back_when_its_holder_dies(
    browser: RemoteBrowser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = await signed_in(browser, demo, ASTRID, COUNT_SOCKETS % {"port": "", "box": ""})
    before = await count(tab)
    holders = demo.members("ray::Holder")
    assert len(holders) == 2
    for holder in holders:
        holder.send_signal(signal.SIGKILL)
    await tab.choose(".ds-picker input", essays(tmp_path))
    await tab.until(f"{LIVE} && {all_settled(before + 4)}", wait_s=60)
    assert await tab.evaluate("sockets") < 10


async def test_a_reset_makes_the_page_fetch_its_state_again(
    browser: RemoteBrowser, demo: DemoCommand, valkey_of_demo: ValkeyProcess, tmp_path: Path
) -> None:
    tab = await signed_in(browser, demo, MIRA)
    before = await count(tab)
    await tab.choose(".ds-picker input", essays(tmp_path))
    await tab.until(f"{all_settled(before + 4)}")
    seen = await fates(tab)
    lose_the_log(valkey_of_demo, MIRA)
    await tab.until("document.querySelector('.notice').textContent.includes('could not be resumed')")
    assert await fates(tab) == seen
    await tab.choose(".ds-picker input", essays(tmp_path))
    await tab.until(f"{all_settled(before + 8)}")


async def test_twelve_tabs_of_a_teacher_all_show_the_truth(browser: RemoteBrowser, demo: DemoCommand) -> None:
    first = await signed_in(browser, demo, MIRA)
    before = await count(first)
    await first.evaluate(NO_ESSAYS)
    await first.until(all_settled(before + 2))
    seen = await fates(first)
    tabs = [await opened(browser, demo, MIRA) for _ in range(11)]
    for tab in tabs:
        await tab.until(f"{LIVE} && {FETCHED} && {all_settled(before + 2)}", wait_s=40)
        assert await fates(tab) == seen


@pytest.mark.parametrize("mode", ["refuse", "cut"])
async def test_where_websockets_are_blocked_the_page_shows_the_truth_and_storms_nobody(
    browser: RemoteBrowser, demo: DemoCommand, tmp_path: Path, mode: Mode
) -> None:
    gateway = urlsplit(demo.gateway_url)
    async with Middlebox(gateway.netloc) as box:
        box.mode = mode
        script = COUNT_SOCKETS % {"port": f":{gateway.port}", "box": f":{box.port}"}
        tab = await opened(browser, demo, ASTRID, script)
        await tab.until(FETCHED)
        before = await count(tab)
        await tab.choose(".ds-picker input", essays(tmp_path)[:1])
        await tab.until(f"{state('polling')} && {all_settled(before + 1)}")
        assert await tab.evaluate("sockets") <= 3


async def test_a_network_that_goes_silent_is_noticed_and_recovered_from(
    browser: RemoteBrowser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = of_chromium(await signed_in(browser, demo, JONAS))
    other_tab = await signed_in(browser, demo, JONAS)
    before = await count(tab)
    await tab.call("Page.bringToFront")
    await tab.evaluate(SILENT)
    await other_tab.choose(".ds-picker input", essays(tmp_path)[:1])
    await tab.until(f"!{LIVE}")
    await tab.evaluate(SILENT)
    # While it polls, it tries a socket every 30 s.
    await tab.until(f"{LIVE} && {all_settled(before + 1)}", wait_s=100)


@in_firefox
async def test_what_could_not_be_sent_goes_when_the_network_is_back_and_the_focus_stays(
    browser: RemoteBrowser, demo: DemoCommand
) -> None:
    tab = await signed_in(browser, demo, JONAS)
    before = await count(tab)
    await tab.evaluate(CUT)
    await tab.evaluate(NO_ESSAYS)
    await tab.until("document.querySelector('.batch .bad')?.textContent.includes('not sent')")
    assert await tab.evaluate("dispatchEvent(new Event('beforeunload', {cancelable: true}))") is False
    await tab.evaluate("document.querySelector('.again').focus()")
    await tab.press("Enter", "\r")
    assert await tab.evaluate("document.activeElement.className") == "batch"
    await tab.until("document.querySelector('.batch .bad')?.textContent.includes('not sent')")
    await tab.evaluate(CUT)  # whole again
    await tab.until(f"{all_settled(before + 2)}")
    assert await tab.evaluate("document.activeElement.className") == "batch"
    assert await tab.evaluate("dispatchEvent(new Event('beforeunload', {cancelable: true}))") is True


async def test_an_upload_whose_answer_was_lost_is_not_doubled_by_trying_again(
    browser: RemoteBrowser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = await signed_in(browser, demo, ASTRID, LOSE_AN_ANSWER)
    before = await count(tab)
    await tab.choose(".ds-picker input", essays(tmp_path)[:1])
    again = "[...document.querySelectorAll('tbody .act')].find(one => one.innerText === 'Try again')"
    await tab.until(f"Boolean({again})")
    await tab.evaluate(f"{again}.focus()")
    await tab.press("Enter", "\r")
    await tab.until(all_settled(before + 1))
    await tab.until("document.activeElement.innerText === 'What happened?'")
    await tab.reload()
    await tab.until(f"{FETCHED} && {all_settled(before + 1)}")


async def test_a_slow_upload_shows_how_far_it_is(
    browser: RemoteBrowser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = of_chromium(await signed_in(browser, demo, JONAS))
    before = await count(tab)
    large = tmp_path / "large.txt"
    large.write_text("A long essay. " * 30_000)
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 200_000}
    await tab.call("Network.enable")
    await tab.call("Network.emulateNetworkConditions", **slow)
    await tab.choose(".ds-picker input", [large])
    await tab.until("(bar => bar && bar.value > 0 && bar.value < 1)(document.querySelector('td progress'))")
    assert await tab.evaluate("dispatchEvent(new Event('beforeunload', {cancelable: true}))") is False
    await tab.until(all_settled(before + 1))


def lose_the_log(valkey: ValkeyProcess, user_id: str) -> None:
    """As if Redis had lost what it had of a user; and cut the feeds, so that the holders look."""
    with valkey.client() as client:
        keys = list(client.scan_iter(f"doorstep:*:*:{user_id}"))
        assert keys
        client.delete(*keys)
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

"""The page in a real browser, on the whole demo: what a teacher does, and what she sees."""

import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from doorstep.development.valkey import ValkeyProcess
from tests.demo.browser import WAIT_S, Browser, Tab, chromium
from tests.demo.command import START_S, DemoCommand

pytestmark = pytest.mark.timeout(2 * START_S)

ARTIFACTS = Path(__file__).parents[2] / "build" / "artifacts"
LIVE = "document.querySelector('#connection')?.dataset.state === 'live'"
FETCHED = "document.querySelector('#essays').ariaBusy === 'false'"
ASTRID, JONAS, MIRA = "teacher-astrid-berg", "teacher-jonas-ekstrom", "teacher-mira-haddad"


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


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    """A Chromium with an empty profile."""
    async with chromium(tmp_path) as running:
        yield running


def rows(fate: str = "") -> str:
    """JavaScript: the rows of files, those with this fate."""
    selector = f'.file[data-fate="{fate}"]' if fate else ".file"
    return f"[...document.querySelectorAll('{selector}')]"


async def fates(tab: Tab) -> dict[str, tuple[str, str]]:
    """By file name: fate, and what the row says of it."""
    script = (
        f"{rows()}.map(row => [row.querySelector('.name').textContent, row.dataset.fate,"
        " row.querySelector('.fate').textContent])"
    )
    return {name: (fate, text) for name, fate, text in await tab.evaluate(script)}


async def signed_in(browser: Browser, demo: DemoCommand, user_id: str) -> Tab:
    """A page of a teacher, connected, with all it has to show."""
    tab = await browser.tab()
    await tab.size(1280, 900)
    await tab.open(f"{demo.url}/#{user_id}")
    await tab.until(f"{LIVE} && {FETCHED}")
    return tab


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
    browser: Browser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = await signed_in(browser, demo, ASTRID)
    other_tab = await signed_in(browser, demo, ASTRID)
    colleague = await signed_in(browser, demo, JONAS)
    await tab.drop("#drop", essays(tmp_path))
    await tab.until(f"{rows('essay')}.length === 2 && {rows('refused')}.length === 2")
    seen = await fates(tab)
    assert [fate for fate, _ in seen.values()] == ["essay", "essay", "refused", "refused"]
    assert seen["empty.txt"] == ("refused", "The file has no text in it.")
    assert seen["photo.jpg"][1].startswith("The file is not plain text in UTF-8")
    assert all(text.startswith("Essay ") for fate, text in seen.values() if fate == "essay")
    times = await tab.evaluate(f"{rows()}.map(row => parseFloat(row.querySelector('.time').textContent))")
    assert all(0 < time < 5000 for time in times)
    await other_tab.until(f"{rows('essay')}.length === 2 && {rows('refused')}.length === 2")
    assert await fates(other_tab) == seen
    assert await fates(colleague) == {}


async def test_thirty_samples_arrive_and_look_well(browser: Browser, demo: DemoCommand) -> None:
    tab = await signed_in(browser, demo, MIRA)
    await tab.evaluate("document.querySelector('#send-samples').click()")
    await tab.until(f"{rows('essay')}.length === 30")
    await tab.evaluate("document.querySelector('#send-empty').click()")
    await tab.until(f"{rows('refused')}.length === 1")
    await tab.until("document.querySelector('#count-essays').textContent === '30'")
    essays_shown = await tab.evaluate(f"{rows('essay')}.map(row => row.querySelector('.fate').title)")
    assert len(set(essays_shown)) == 30
    await tab.screenshot(ARTIFACTS / "demo-page.png")
    await tab.size(1280, 900, dark=True)
    await tab.screenshot(ARTIFACTS / "demo-page-dark.png")
    await tab.size(400, 860)
    await tab.screenshot(ARTIFACTS / "demo-page-phone.png")
    assert await tab.evaluate("document.documentElement.scrollWidth <= innerWidth")


async def test_the_list_is_there_again_after_a_reload(
    browser: Browser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = await signed_in(browser, demo, JONAS)
    await tab.choose("#files", essays(tmp_path))
    await tab.until(f"{rows('essay')}.length === 2 && {rows('refused')}.length === 2")
    seen = await fates(tab)
    await tab.call("Page.reload")
    await tab.until(f"{rows('essay')}.length === 2 && {rows('refused')}.length === 2")
    assert await fates(tab) == seen


async def test_all_of_it_works_with_the_keyboard(browser: Browser, demo: DemoCommand) -> None:
    tab = await signed_in(browser, demo, JONAS)
    focus = "document.activeElement.id || document.activeElement.value"
    order = []
    for _ in range(5):
        await tab.press("Tab")
        order.append(await tab.evaluate(focus))
    assert order[1:] == [JONAS, "files", "send-samples", "send-empty"]
    before = await tab.evaluate(f"{rows('refused')}.length")
    await tab.press("Enter", "\r")
    await tab.until(f"{rows('refused')}.length === {before + 1}")
    await tab.evaluate("document.querySelector('input:checked').focus()")
    await tab.press("ArrowDown")
    await tab.until(f"location.hash === '#{MIRA}'")
    await tab.until(LIVE)


async def test_the_page_comes_back_when_its_holder_dies(
    browser: Browser, demo: DemoCommand, tmp_path: Path
) -> None:
    tab = await signed_in(browser, demo, ASTRID)
    essays_before = await count(tab, "essay")
    await tab.evaluate(
        "window.states = []; new MutationObserver(() => window.states.push(document.querySelector("
        "'#connection').dataset.state)).observe(document.querySelector('#connection'), {attributes: true})"
    )
    holders = demo.members("ray::Holder")
    assert len(holders) == 2
    for holder in holders:
        holder.send_signal(signal.SIGKILL)
    await tab.until("window.states.includes('waiting')")
    await tab.choose("#files", essays(tmp_path))
    await tab.until(LIVE, wait_s=60)
    await settled(tab, essays_before + 2, wait_s=60)


async def test_a_reset_makes_the_page_fetch_its_state_again(
    browser: Browser, demo: DemoCommand, valkey_of_demo: ValkeyProcess, tmp_path: Path
) -> None:
    tab = await signed_in(browser, demo, MIRA)
    essays_before = await count(tab, "essay")
    await tab.choose("#files", essays(tmp_path))
    await settled(tab, essays_before + 2)
    seen = await fates(tab)
    lose_the_log(valkey_of_demo, MIRA)
    await tab.until("document.querySelector('#notice').textContent.includes('could not be resumed')")
    assert await fates(tab) == seen
    await tab.choose("#files", essays(tmp_path))
    await settled(tab, essays_before + 4)


async def count(tab: Tab, fate: str) -> int:
    """How many files have this fate."""
    return int(await tab.evaluate(f"{rows(fate)}.length"))


async def settled(tab: Tab, essays: int, wait_s: float = WAIT_S) -> None:
    """Wait until there are so many essays, and no file is on its way."""
    await tab.until(
        f"{rows('essay')}.length === {essays} && !{rows('sending')}.length && !{rows('uploaded')}.length",
        wait_s,
    )


def lose_the_log(valkey: ValkeyProcess, user_id: str) -> None:
    """As if Redis had lost what it had of a user; and cut the feeds, so that the holders look."""
    with valkey.client() as client:
        keys = list(client.scan_iter(f"doorstep:*:*:{user_id}"))
        assert keys
        client.delete(*keys)
        client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")

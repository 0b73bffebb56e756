"""A stranger's hour: the guide's blocks, in their order, in a fresh project with only the packed package."""

import re
import signal
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import aiohttp
import pytest

from doorstep.development.ports import free_port, is_open
from doorstep.development.processes import ServerProcess
from tests.demo.browser import Browser, Tab
from tests.demo.command import START_S, DemoCommand
from tests.frontend.conftest import ARTIFACTS, FRONTEND, npm
from tests.frontend.guide import GUIDE, Block, Project, blocks_of, section

pytestmark = pytest.mark.timeout(2 * START_S)

QUICK_START = 2

OWN_EVENTS = """import { connect } from "@doorstep/client";

const connection = connect({ url: "/", token: () => "" });
connection.on("batch.completed", ({ data }) => data.batch_name.toUpperCase());
connection.on("essay.slot.assigned", ({ data }) => data.essay_id.toUpperCase());
connection.onAny((it) => (it.event === "batch.completed" ? it.data.batch_name.toUpperCase() : ""));
// @ts-expect-error: of fields that nobody declared nothing is known
connection.on("batch.completed", ({ data }) => data.batch_names.length);
// @ts-expect-error: nor of events
connection.on("batch.renamed", ({ data }) => data.batch_name.toUpperCase());
"""
"""What the types of the guide's `src/events.ts` allow, and what not."""


@pytest.fixture(scope="module")
def project(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """What a stranger has after the whole guide; compiled after the quick start, too."""
    made = Project(tmp_path_factory.mktemp("stranger") / "essays", built)
    made.copy(blocks_of(section(QUICK_START)))
    made.compile()
    made.build()
    made.copy([*blocks_of(GUIDE.read_text()), Block("ts", "src/own-events.ts", OWN_EVENTS)])
    made.compile()
    made.test()
    made.build()
    return made


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoCommand]:
    """The platform that the guide talks to: a real gateway, and the demo's services."""
    with closing(
        DemoCommand(tmp_path_factory.mktemp("demo"), DOORSTEP_GATEWAY__ALLOWED_ORIGINS="*")
    ) as command:
        command.start()
        yield command
        command.end(signal.SIGTERM)


@contextmanager
def preview(directory: Path, log: Path, demo: DemoCommand) -> Iterator[str]:
    """Where the built pages of a Vite project are, behind the proxy of its own configuration."""
    port = free_port()
    vite = (FRONTEND / "node_modules" / "vite" / "bin" / "vite.js").as_posix()
    command = ["node", vite, "preview", "--port", str(port), "--strictPort", "--host", "127.0.0.1"]
    addresses = {"DOORSTEP_URL": demo.gateway_url, "SERVICES_URL": demo.url}
    process = ServerProcess(command, log=log, env=addresses, cwd=directory)
    process.start()
    try:
        process.wait_until(lambda: is_open(port), what="Vite", timeout_s=30)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()


@pytest.fixture
def page(project: Project, demo: DemoCommand, tmp_path: Path) -> Iterator[str]:
    """Where the stranger's page is."""
    with preview(project.directory, tmp_path / "vite.log", demo) as address:
        yield address


async def teacher(browser: Browser, page: str) -> Tab:
    """A tab of the page, live."""
    tab = await browser.tab()
    await tab.size(1280, 900)
    await tab.open(page)
    await tab.until("document.querySelector('.ds-status')?.dataset.state === 'live'")
    return tab


def essays(directory: Path, count: int) -> list[Path]:
    """So many essays, and one file that is none."""
    files = [directory / f"Åsa's essay {number}.txt" for number in range(1, count + 1)]
    for file in files:
        file.write_text(f"This is {file.name}.")
    empty = directory / "empty.txt"
    empty.write_text("")
    return [*files, empty]


ROWS = "[...document.querySelectorAll('.ds-batch tbody tr')]"
SETTLED = f"{ROWS}.filter(row => /assigned|failed/.test(row.dataset.status))"


async def test_files_become_essays_on_the_strangers_page(page: str, browser: Browser, tmp_path: Path) -> None:
    tab = await teacher(browser, page)
    await tab.choose("input[type=file]", essays(tmp_path, 12))
    await tab.until(f"{SETTLED}.length === 13")
    assert await tab.evaluate(f"{ROWS}.length") == 13
    assert await tab.evaluate(f"{ROWS}.filter(row => row.dataset.status === 'assigned').length") == 12
    failure = "empty.txt: The file has no text in it."
    errors = await tab.evaluate("document.querySelector('.ds-errors').innerText")
    assert errors == f"1 file failed\n{failure} EMPTY_CONTENT"
    assert failure in await tab.evaluate("document.querySelector('.notice').innerText")
    assert await tab.evaluate("support.paintMs(0.99)") < 500
    await tab.screenshot(ARTIFACTS / "guide.png")
    shown = await tab.evaluate(f"{ROWS}.map(row => row.innerText)")
    later = await teacher(browser, page)
    await later.until(f"{SETTLED}.length === 13")
    assert await later.evaluate(f"{ROWS}.map(row => row.innerText)") == shown


async def test_a_second_device_sees_the_same(page: str, browser: Browser, tmp_path: Path) -> None:
    one, other = [await teacher(browser, f"{page}/?user=teacher-mira-haddad") for _ in range(2)]
    await one.choose("input[type=file]", essays(tmp_path, 3))
    await one.until(f"{SETTLED}.length === 4")
    await other.until(f"{SETTLED}.length === 4")


async def test_twelve_tabs_of_a_teacher_are_all_live(page: str, browser: Browser, tmp_path: Path) -> None:
    tabs = [await teacher(browser, f"{page}/?user=teacher-jonas-ekstrom") for _ in range(12)]
    await tabs[3].choose("input[type=file]", essays(tmp_path, 2))
    for tab in tabs:
        await tab.until(f"{SETTLED}.length === 3")


async def test_the_examples_are_live_after_ten_lines(
    built: Path, demo: DemoCommand, browser: Browser, tmp_path: Path
) -> None:
    npm("run", "build", "--workspace", "@doorstep/examples", directory=built)
    with preview(built / "examples", tmp_path / "vite.log", demo) as address:
        for example in ("plain", "vue", "svelte"):
            tab = await browser.tab()
            await tab.open(f"{address}/{example}/index.html")
            await tab.until("document.querySelector('main p')?.textContent === 'live'")


async def test_what_the_gateway_serves_is_the_contract(demo: DemoCommand) -> None:
    async with aiohttp.ClientSession() as http, http.get(f"{demo.gateway_url}/asyncapi.json") as answer:
        served = await answer.json()
    assert set(served["channels"]["socket"]["messages"]) >= {
        "essay_slot_assigned",
        "doorstep.welcome",
        "op.ack",
    }


def test_every_typescript_block_of_a_project_has_a_language_that_is_compiled() -> None:
    languages = {block.language for block in blocks_of(GUIDE.read_text())}
    assert languages <= {"ts", "tsx", "sh", "json", "nginx"}


def test_every_link_inside_the_guide_leads_to_a_heading() -> None:
    told = GUIDE.read_text()
    headings = re.findall(r"^#+ (.+)$", told, re.MULTILINE)
    anchors = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]+)\)", told)) - anchors == set()

"""A stranger's hour: the guide's blocks, in their order, in a fresh project with only the packed package."""

import json
import re
import signal
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

import aiohttp
import psutil
import pytest

from doorstep.development.ports import free_port, is_open
from doorstep.development.processes import ServerProcess
from tests.demo.command import DemoCommand
from tests.frontend.conftest import ARTIFACTS, FRONTEND, npm, what_axe_finds
from tests.frontend.guide import GUIDE, Block, Project, blocks_of, section
from tests.support.pace import slowness
from tests.support.remote import RemoteBrowser, RemoteTab
from tests.support.waiting import PATIENCE_S

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


class Vite:
    """A server of a Vite project: `preview` of the built page, `dev` of its sources as they are."""

    def __init__(self, directory: Path, log: Path, demo: DemoCommand, command: str = "preview") -> None:
        self._port = free_port()
        vite = (FRONTEND / "node_modules" / "vite" / "bin" / "vite.js").as_posix()
        options = ["--port", str(self._port), "--strictPort", "--host", "127.0.0.1"]
        addresses = {"DOORSTEP_URL": demo.gateway_url, "SERVICES_URL": demo.url}
        self._process = ServerProcess(
            ["node", vite, command, *options], log=log, env=addresses, cwd=directory
        )
        self._gateway_port = urlsplit(demo.gateway_url).port

    def __enter__(self) -> Self:
        self._process.start()
        self._process.wait_until(lambda: is_open(self._port), what="Vite", timeout_s=PATIENCE_S)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://127.0.0.1:{self._port}"

    def connections(self) -> int:
        """How many its pages have to Doorstep, which come through its proxy."""
        mine = psutil.Process(self._process.pid).net_connections("tcp4")
        return sum(
            1
            for each in mine
            if each.raddr and each.raddr.port == self._gateway_port and each.status == psutil.CONN_ESTABLISHED
        )


@pytest.fixture
def page(project: Project, demo: DemoCommand, tmp_path: Path) -> Iterator[str]:
    """Where the stranger's page is."""
    with Vite(project.directory, tmp_path / "vite.log", demo) as vite:
        yield vite.url


async def teacher(browser: RemoteBrowser, page: str) -> RemoteTab:
    """A tab of the page, live."""
    tab = await browser.tab()
    await tab.size(1280, 900)
    await tab.open(page)
    await tab.until("document.querySelector('.ds-status')?.dataset.state === 'live'")
    return tab


def essays(directory: Path, count: int) -> list[Path]:
    """So many essays, and one file that is none. Names have that of the directory, which no test shares."""
    files = [directory / f"Åsa's essay {number}, {directory.name}.txt" for number in range(1, count + 1)]
    for file in files:
        file.write_text(f"This is {file.name}.")
    empty = directory / f"empty, {directory.name}.txt"
    empty.write_text("")
    return [*files, empty]


def rows(directory: Path, status: str = ".") -> str:
    """JavaScript: the rows of these files; those of a status, as a regular expression."""
    is_ours = f"row.innerText.includes('{directory.name}') && /{status}/.test(row.dataset.status)"
    return f"[...document.querySelectorAll('.ds-batch tbody tr')].filter(row => {is_ours})"


def settled(directory: Path, count: int) -> str:
    """JavaScript: whether it is known of so many files what has become of them."""
    return f"{rows(directory, 'assigned|failed')}.length === {count}"


@pytest.mark.alone
async def test_files_become_essays_on_the_strangers_page(
    page: str, browser: RemoteBrowser, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    tab = await teacher(browser, page)
    await tab.choose("input[type=file]", essays(tmp_path, 12))
    await tab.until(settled(tmp_path, 13))
    assert await tab.evaluate(f"{rows(tmp_path)}.length") == 13
    assert await tab.evaluate(f"{rows(tmp_path, 'assigned')}.length") == 12
    failure = f"empty, {tmp_path.name}.txt: The file has no text in it."
    errors = f"1 file failed\n{failure} EMPTY_CONTENT"
    await tab.until(f"document.querySelector('.ds-errors').innerText === {json.dumps(errors)}")
    await tab.until(f"document.querySelector('.notice').innerText.includes({json.dumps(failure)})")
    assert await tab.evaluate("support.paintMs(0.99)") < 500 * await slowness()
    await tab.screenshot(ARTIFACTS / f"guide-{request.node.callspec.params['browser']}.png")
    assert await what_axe_finds(tab) == "[]"
    shown = await tab.evaluate(f"{rows(tmp_path)}.map(row => row.innerText)")
    later = await teacher(browser, page)
    await later.until(settled(tmp_path, 13))
    assert await later.evaluate(f"{rows(tmp_path)}.map(row => row.innerText)") == shown


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
async def test_a_second_device_sees_the_same(page: str, browser: RemoteBrowser, tmp_path: Path) -> None:
    one, other = [await teacher(browser, f"{page}/?user=teacher-mira-haddad") for _ in range(2)]
    await one.choose("input[type=file]", essays(tmp_path, 3))
    await one.until(settled(tmp_path, 4))
    await other.until(settled(tmp_path, 4))


async def test_where_strict_mode_mounts_twice_there_is_one_connection_and_nothing_twice(
    project: Project, demo: DemoCommand, browser: RemoteBrowser, tmp_path: Path
) -> None:
    with Vite(project.directory, tmp_path / "vite.log", demo, "dev") as vite:
        tab = await teacher(browser, vite.url)
        states = await tab.evaluate("support.entries().flatMap(it => it.status?.state ?? [])")
        assert states == ["connecting", "stopped", "connecting", "live"]
        await tab.choose("input[type=file]", essays(tmp_path, 3))
        await tab.until(settled(tmp_path, 4))
        ids = await tab.evaluate("support.entries().flatMap(it => it.notification?.id ?? [])")
        assert len(ids) == len(set(ids)) == 4
        assert await tab.evaluate(f"{rows(tmp_path)}.length") == 4
        assert vite.connections() == 1


@pytest.mark.parametrize("browser", ["chromium"], indirect=True)
async def test_twelve_tabs_of_a_teacher_are_all_live(
    page: str, browser: RemoteBrowser, tmp_path: Path
) -> None:
    tabs = [await teacher(browser, f"{page}/?user=teacher-jonas-ekstrom") for _ in range(12)]
    await tabs[3].choose("input[type=file]", essays(tmp_path, 2))
    for tab in tabs:
        await tab.until(settled(tmp_path, 3))


async def test_the_examples_are_live_after_ten_lines(
    built: Path, demo: DemoCommand, browser: RemoteBrowser, tmp_path: Path
) -> None:
    npm("run", "build", "--workspace", "@doorstep/examples", directory=built)
    with Vite(built / "examples", tmp_path / "vite.log", demo) as vite:
        for example in ("plain", "vue", "svelte"):
            tab = await browser.tab()
            await tab.open(f"{vite.url}/{example}/index.html")
            await tab.until("document.querySelector('main p')?.textContent === 'live'")
            assert await what_axe_finds(tab) == "[]", example


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

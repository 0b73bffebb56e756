"""What browser tests of `frontend/` need: its packages built, browsers, and a place to load pages from."""

import contextlib
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path

import pytest
from aiohttp import web

from tests.demo.browser import chromium
from tests.support.components import missing
from tests.support.firefox import firefox
from tests.support.remote import RemoteBrowser, RemoteTab

ROOT = Path(__file__).parents[2]
FRONTEND = ROOT / "frontend"
ARTIFACTS = ROOT / "build" / "artifacts"
BROWSERS: Mapping[str, Callable[[Path], contextlib.AbstractAsyncContextManager[RemoteBrowser]]] = {
    "chromium": chromium,
    "firefox": firefox,
}


def npm(*arguments: str, directory: Path = FRONTEND) -> None:
    """Run npm and wait for it; what it says is in the error if it fails."""
    done = subprocess.run(
        ["npm", "--silent", *arguments], cwd=directory, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"npm {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"


@pytest.fixture(scope="session")
def built() -> Path:
    """`frontend/`, with `@doorstep/client` built."""
    if not (FRONTEND / "node_modules" / ".installed").exists():
        missing("Node's packages", "run `make test-frontend`; it needs Node 20 or later with npm")
    npm("run", "build", "--workspace", "@doorstep/client")
    return FRONTEND


@pytest.fixture(params=BROWSERS)
async def browser(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[RemoteBrowser]:
    """Each browser, with an empty profile."""
    async with BROWSERS[request.param](tmp_path) as started:
        yield started


async def what_axe_finds(tab: RemoteTab) -> str:
    """As JSON: `[]` where everybody can use the page, as far as a program can tell."""
    await tab.run((FRONTEND / "node_modules" / "axe-core" / "axe.min.js").read_text())
    found = "axe.run().then(({violations}) => JSON.stringify(violations, null, 1))"
    return str(await tab.evaluate(found))


@contextlib.asynccontextmanager
async def serving(directory: Path) -> AsyncIterator[str]:
    """Serve the files of a directory; yields the address of its `index.html`."""
    site = web.Application()
    site.router.add_static("/", directory)
    async with running(site) as address:
        yield address


@contextlib.asynccontextmanager
async def running(site: web.Application) -> AsyncIterator[str]:
    """Serve a site; yields the address of its `index.html`."""
    runner = web.AppRunner(site, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/index.html"
    finally:
        await runner.cleanup()

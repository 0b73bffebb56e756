"""A headless Firefox, driven over WebDriver BiDi: as much of it as the tests of the client need."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from doorstep.development.processes import ServerProcess
from tests.support.components import missing, used
from tests.support.remote import WAIT_S, PageError, RemoteBrowser, RemoteTab

_AS_JSON = "(async () => JSON.stringify(await (%s)))()"
"""BiDi has its own words for the types of JavaScript; JSON is what Chromium answers, too."""


class FirefoxTab(RemoteTab):
    """One page, in a window of its own: Firefox hides all tabs of a window but one."""

    def __init__(self, browser: "Firefox", context: str) -> None:
        self._browser = browser
        self._context = context

    async def open(self, url: str) -> None:
        await self._browser.call("browsingContext.navigate", context=self._context, url=url, wait="none")

    async def evaluate(self, expression: str, wait_s: float = WAIT_S) -> Any:
        answer = await self._browser.call(
            "script.evaluate",
            wait_s=wait_s,
            expression=_AS_JSON % expression,
            target={"context": self._context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise PageError(f"{expression}: {answer['exceptionDetails']['text']}")
        return json.loads(answer["result"].get("value", "null"))

    async def close(self) -> None:
        await self._browser.call("browsingContext.close", context=self._context)


class Firefox(RemoteBrowser):
    """The running Firefox."""

    async def tab(self) -> FirefoxTab:
        window = await self.call("browsingContext.create", type="window")
        return FirefoxTab(self, window["context"])


@contextlib.asynccontextmanager
async def firefox(directory: Path) -> AsyncIterator[Firefox]:
    """A headless Firefox with an empty profile in `directory`; skips the test where there is none."""
    binary = shutil.which("firefox-esr") or shutil.which("firefox")
    if binary is None:
        missing("Firefox", "run `make setup-tests`, or: apt-get install -y firefox-esr")
    profile = directory / "firefox"
    profile.mkdir()
    command = [binary, "--headless", "--no-remote", "--profile", str(profile), "--remote-debugging-port=0"]
    process = ServerProcess(command, log=directory / "firefox.log", env={"HOME": str(directory)})
    process.start()
    try:
        listening = profile / "WebDriverBiDiServer.json"
        await asyncio.to_thread(
            process.wait_until,
            lambda: listening.exists() and listening.read_text().rstrip().endswith("}"),
            what="Firefox",
            timeout_s=WAIT_S,
        )
        port = json.loads(listening.read_text())["ws_port"]
        async with Firefox.at(f"ws://127.0.0.1:{port}/session") as browser:
            session = await browser.call("session.new", capabilities={})
            used["Firefox"] = session["capabilities"]["browserVersion"]
            yield browser
    finally:
        process.kill()

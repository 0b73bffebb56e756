"""A headless Firefox, driven over WebDriver BiDi: as much of it as the tests of the client need."""

import asyncio
import contextlib
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from doorstep.development.processes import ServerProcess
from tests.support.components import missing, used
from tests.support.remote import PageError, RemoteBrowser, RemoteTab, save
from tests.support.waiting import PATIENCE_S

_AS_JSON = "(async () => JSON.stringify(await (%s)))()"
"""BiDi has its own words for the types of JavaScript; JSON is what Chromium answers, too."""

_KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "ArrowDown": "\ue015"}
"""As WebDriver writes keys that are no characters."""


class FirefoxTab(RemoteTab):
    """One page."""

    def __init__(self, browser: "Firefox", context: str) -> None:
        self._browser = browser
        self.context = context

    async def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol for this page. Raises `PageError` with what the browser says."""
        return await self._browser.call(method, context=self.context, **parameters)

    async def open(self, url: str) -> None:
        await self.call("browsingContext.navigate", url=url, wait="none")

    async def preload(self, script: str) -> None:
        function = f"() => {{{script}}}"
        await self._browser.call(
            "script.addPreloadScript", functionDeclaration=function, contexts=[self.context]
        )

    async def load_again(self) -> None:
        await self.call("browsingContext.reload", wait="none")

    async def evaluate(self, expression: str, wait_s: float = PATIENCE_S) -> Any:
        answer = await self._browser.call(
            "script.evaluate",
            wait_s=wait_s,
            expression=_AS_JSON % expression,
            target={"context": self.context},
            awaitPromise=True,
            userActivation=True,
        )
        if answer["type"] == "exception":
            raise PageError(f"{expression}: {answer['exceptionDetails']['text']}")
        return json.loads(answer["result"].get("value", "null"))

    async def size(self, width: int, height: int) -> None:
        await self.call("browsingContext.setViewport", viewport={"width": width, "height": height})

    async def screenshot(self, path: Path) -> None:
        answer = await self.call("browsingContext.captureScreenshot")
        await save(path, answer["data"])

    async def press(self, key: str, text: str = "") -> None:
        strokes = [{"type": kind, "value": _KEYS[key]} for kind in ("keyDown", "keyUp")]
        actions = [{"type": "key", "id": "keyboard", "actions": strokes}]
        await self.call("input.performActions", actions=actions)

    async def choose(self, selector: str, files: Sequence[Path]) -> None:
        found = await self.call("browsingContext.locateNodes", locator={"type": "css", "value": selector})
        element = {"sharedId": found["nodes"][0]["sharedId"]}
        await self.call("input.setFiles", element=element, files=[str(file) for file in files])

    async def show(self) -> None:
        await self.call("browsingContext.activate")

    async def close(self) -> None:
        await self.call("browsingContext.close")


class Firefox(RemoteBrowser):
    """The running Firefox."""

    async def tab(self, beside: RemoteTab | None = None) -> FirefoxTab:
        where: dict[str, Any] = {"type": "window"}
        if isinstance(beside, FirefoxTab):
            where = {"type": "tab", "referenceContext": beside.context}
        created = await self.call("browsingContext.create", **where)
        return FirefoxTab(self, created["context"])


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
            timeout_s=PATIENCE_S,
        )
        port = json.loads(listening.read_text())["ws_port"]
        async with Firefox.at(f"ws://127.0.0.1:{port}/session") as browser:
            session = await browser.call("session.new", wait_s=PATIENCE_S, capabilities={})
            used["Firefox"] = session["capabilities"]["browserVersion"]
            yield browser
    finally:
        process.kill()

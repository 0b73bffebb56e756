"""A headless Chromium, driven over the DevTools protocol: as much of it as the tests of the page need."""

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

_FLAGS = (
    "--headless",
    "--no-sandbox",  # the tests may run as root
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
)


class Tab(RemoteTab):
    """One page."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session

    async def call(self, method: str, wait_s: float = PATIENCE_S, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol. Raises `PageError` with what the browser says."""
        return await self._browser.call(method, self._session, wait_s, **parameters)

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def preload(self, script: str) -> None:
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=script)

    async def load_again(self) -> None:
        await self.call("Page.reload")

    async def evaluate(self, expression: str, wait_s: float = PATIENCE_S) -> Any:
        flags: dict[str, Any] = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = await self.call("Runtime.evaluate", wait_s, expression=expression, **flags)
        if "exceptionDetails" in answer:
            raise PageError(f"{expression}: {answer['exceptionDetails']['exception']['description']}")
        return answer["result"].get("value")

    async def show(self) -> None:
        await self.call("Page.bringToFront")

    async def close(self) -> None:
        await self.call("Page.close")

    async def size(
        self, width: int, height: int, *, dark: bool = False, forced_colours: bool = False
    ) -> None:
        """The same with the colours that are preferred; nothing moves."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        preferences = {
            "prefers-color-scheme": "dark" if dark else "light",
            "prefers-reduced-motion": "reduce",
            "forced-colors": "active" if forced_colours else "none",
        }
        features = [{"name": name, "value": value} for name, value in preferences.items()]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self, path: Path) -> None:
        answer = await self.call("Page.captureScreenshot", format="png")
        await save(path, answer["data"])

    async def press(self, key: str, text: str = "") -> None:
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowDown": 40}
        common: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def choose(self, selector: str, files: Sequence[Path]) -> None:
        root = (await self.call("DOM.getDocument"))["root"]["nodeId"]
        node = await self.call("DOM.querySelector", nodeId=root, selector=selector)
        await self.call("DOM.setFileInputFiles", nodeId=node["nodeId"], files=[str(file) for file in files])

    async def drop(self, selector: str, files: Sequence[Path]) -> None:
        """Drag files from the desktop to the middle of an element and let go."""
        x, y = await self.evaluate(
            f"(r => [r.x + r.width / 2, r.y + r.height / 2])"
            f"(document.querySelector({json.dumps(selector)}).getBoundingClientRect())"
        )
        data = {"items": [], "files": [str(file) for file in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            await self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)


class Browser(RemoteBrowser):
    """The running Chromium."""

    async def tab(self, beside: RemoteTab | None = None) -> Tab:
        if beside is not None:
            await beside.show()  # a tab comes into the window that was used last
        target = await self.call("Target.createTarget", url="about:blank", newWindow=beside is None)
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab = Tab(self, attached["sessionId"])
        await tab.call("Page.enable")
        return tab


@contextlib.asynccontextmanager
async def chromium(directory: Path, *flags: str) -> AsyncIterator[Browser]:
    """A headless Chromium with an empty profile in `directory`; skips the test where there is none."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if binary is None:
        missing("Chromium", "run `make setup-tests`, or: apt-get install -y chromium")
    port_file = directory / "profile" / "DevToolsActivePort"
    process = ServerProcess(
        [binary, *_FLAGS, *flags, f"--user-data-dir={directory / 'profile'}", "about:blank"],
        log=directory / "chromium.log",
    )
    process.start()
    try:
        await asyncio.to_thread(
            process.wait_until,
            lambda: port_file.exists() and "/devtools/" in port_file.read_text(),
            what="Chromium",
            timeout_s=PATIENCE_S,
        )
        port, path = port_file.read_text().split()
        async with Browser.at(f"ws://127.0.0.1:{port}{path}") as browser:
            used["Chromium"] = (await browser.call("Browser.getVersion"))["product"].rpartition("/")[2]
            yield browser
    finally:
        process.kill()

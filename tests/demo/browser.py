"""A headless Chromium, driven over the DevTools protocol: as much of it as the tests of the page need."""

import asyncio
import base64
import contextlib
import itertools
import json
import shutil
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import aiohttp

from doorstep.development.processes import ServerProcess
from tests.support.components import missing, used

WAIT_S = 20.0

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


_UNTIL = """new Promise((done, fail) => {
  const end = performance.now() + %(wait_ms)d;
  const look = () => {
    const value = %(expression)s;
    if (value || performance.now() > end) done(value);
    else setTimeout(look, 20);
  };
  look();
})"""


class PageError(Exception):
    """The page raised, or did not become what was waited for."""


class Tab:
    """One page."""

    def __init__(self, browser: "Browser", session: str) -> None:
        self._browser = browser
        self._session = session

    async def call(self, method: str, wait_s: float = WAIT_S, **parameters: Any) -> dict[str, Any]:
        """A command of the protocol. Raises `PageError` with what the browser says."""
        return await self._browser.call(method, self._session, wait_s, **parameters)

    async def open(self, url: str) -> None:
        """Go to a page; returns at once."""
        await self.call("Page.navigate", url=url)

    async def reload(self) -> None:
        """Load the page again; returns when the old one is gone and the new one is there."""
        await self.evaluate("window.isOld = true")
        await self.call("Page.reload")
        is_new = "!window.isOld && document.readyState === 'complete'"
        try:
            await self.until(is_new)
        except PageError:  # the old page went while it was asked
            await self.until(is_new)

    async def evaluate(self, expression: str, wait_s: float = WAIT_S) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise. Raises `PageError`."""
        flags: dict[str, Any] = {"awaitPromise": True, "returnByValue": True, "userGesture": True}
        answer = await self.call("Runtime.evaluate", wait_s, expression=expression, **flags)
        if "exceptionDetails" in answer:
            raise PageError(f"{expression}: {answer['exceptionDetails']['exception']['description']}")
        return answer["result"].get("value")

    async def until(self, expression: str, wait_s: float = WAIT_S) -> Any:
        """Wait until an expression is true; returns its value. Raises `PageError` after `wait_s` seconds."""
        value = await self.evaluate(
            _UNTIL % {"expression": expression, "wait_ms": wait_s * 1000}, wait_s + WAIT_S
        )
        if not value:
            text = await self.evaluate("document.body.innerText")
            raise PageError(f"not within {wait_s:g} s: {expression}\nthe page says:\n{text}")
        return value

    async def size(self, width: int, height: int, *, dark: bool = False) -> None:
        """The size of the window in CSS pixels, and the colour scheme that is preferred. Nothing moves."""
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
        }
        features = [{"name": name, "value": value} for name, value in preferences.items()]
        await self.call("Emulation.setEmulatedMedia", features=features)

    async def screenshot(self, path: Path) -> None:
        """What a user sees, as PNG."""
        answer = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(_write, path, base64.b64decode(answer["data"]))

    async def press(self, key: str, text: str = "") -> None:
        """A key that goes down and up: `Tab`, `Enter` (text `\\r`), `ArrowDown`, …"""
        codes = {"Tab": 9, "Enter": 13, "Escape": 27, "ArrowDown": 40}
        common: dict[str, Any] = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        await self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **common)
        await self.call("Input.dispatchKeyEvent", type="keyUp", **common)

    async def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files in the dialog of an `<input type=file>`."""
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


class Browser:
    """The running Chromium."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def tab(self) -> Tab:
        """A new, empty page."""
        target = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=target["targetId"], flatten=True)
        tab = Tab(self, attached["sessionId"])
        await tab.call("Page.enable")
        return tab

    async def call(
        self, method: str, session: str | None = None, wait_s: float = WAIT_S, **parameters: Any
    ) -> dict[str, Any]:
        """A command of the protocol, to the browser or to a page's session."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": session} if session else {}))
        return await asyncio.wait_for(answer, wait_s)

    async def listen(self) -> None:
        """Take in what the browser says, until it closes."""
        async for frame in self._socket:
            message = frame.json()
            answer = self._answers.pop(message.get("id"), None)
            if answer is None or answer.done():
                continue  # an event, or too late
            if "error" in message:
                answer.set_exception(PageError(str(message["error"])))
            else:
                answer.set_result(message["result"])


@contextlib.asynccontextmanager
async def chromium(directory: Path) -> AsyncIterator[Browser]:
    """A headless Chromium with an empty profile in `directory`; skips the test where there is none."""
    binary = shutil.which("chromium") or shutil.which("google-chrome")
    if binary is None:
        missing("Chromium", "run `make setup-tests`, or: apt-get install -y chromium")
    port_file = directory / "profile" / "DevToolsActivePort"
    process = ServerProcess(
        [binary, *_FLAGS, f"--user-data-dir={directory / 'profile'}", "about:blank"],
        log=directory / "chromium.log",
    )
    process.start()
    try:
        await asyncio.to_thread(
            process.wait_until,
            lambda: port_file.exists() and "/devtools/" in port_file.read_text(),
            what="Chromium",
            timeout_s=WAIT_S,
        )
        port, path = port_file.read_text().split()
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(f"http://127.0.0.1:{port}{path}", max_msg_size=0) as socket,
        ):
            browser = Browser(socket)
            listener = asyncio.create_task(browser.listen())
            used["Chromium"] = (await browser.call("Browser.getVersion"))["product"].rpartition("/")[2]
            yield browser
            listener.cancel()
    finally:
        process.kill()


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)

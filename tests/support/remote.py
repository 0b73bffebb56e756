"""What Chromium and Firefox have in common when they are driven over a socket: JSON commands, and pages."""

import asyncio
import base64
import contextlib
import itertools
import json
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Self

import aiohttp

from tests.support.waiting import PATIENCE_S

_LOOK_AGAIN_S = 0.02


class PageError(Exception):
    """The page raised, or did not become what was waited for."""


class RemoteTab(ABC):
    """One page, as much of it as every browser can."""

    @abstractmethod
    async def open(self, url: str) -> None:
        """Go to a page; returns at once."""

    @abstractmethod
    async def preload(self, script: str) -> None:
        """Run a script in every page that comes, before anything of the page's own."""

    @abstractmethod
    async def evaluate(self, expression: str, wait_s: float = PATIENCE_S) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise. Raises `PageError`."""

    @abstractmethod
    async def size(self, width: int, height: int) -> None:
        """The size of the window in CSS pixels."""

    @abstractmethod
    async def screenshot(self, path: Path) -> None:
        """What a user sees, as PNG."""

    @abstractmethod
    async def press(self, key: str, text: str = "") -> None:
        """A key that goes down and up: `Tab`, `Enter` (text `\\r`), `Escape`, `ArrowDown`."""

    @abstractmethod
    async def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Choose files in the dialog of an `<input type=file>`."""

    @abstractmethod
    async def load_again(self) -> None:
        """Load the page again; returns at once."""

    @abstractmethod
    async def show(self) -> None:
        """Go to it, as a user does who has several tabs in a window; the others are hidden then."""

    @abstractmethod
    async def close(self) -> None:
        """Close it, as its user does."""

    async def run(self, script: str) -> None:
        """Run a script that is no expression, such as a library."""
        await self.evaluate(f"void (0, eval)({json.dumps(script)})")

    async def reload(self) -> None:
        """Load the page again; returns when the old one is gone and the new one is there."""
        await self.evaluate("window.isOld = true")
        await self.load_again()
        await self.until("!window.isOld && document.readyState === 'complete'")

    async def until(self, expression: str, wait_s: float = PATIENCE_S) -> Any:
        """Wait until an expression is true; returns its value. Raises `PageError` after `wait_s` seconds.

        One that throws is not true yet: what it looks at may not be there, or its page may go just now.
        """
        deadline = asyncio.get_running_loop().time() + wait_s
        while True:
            thrown = ""
            try:
                if value := await self.evaluate(expression):
                    return value
            except PageError as error:
                thrown = f"\nit threw: {error}"
            if asyncio.get_running_loop().time() > deadline:
                text = await self.evaluate("document.body.innerText")
                raise PageError(f"not within {wait_s:g} s: {expression}{thrown}\nthe page says:\n{text}")
            await asyncio.sleep(_LOOK_AGAIN_S)  # here, as a browser slows down the timers of its pages


class RemoteBrowser(ABC):
    """A running browser at the other end of a socket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}

    @classmethod
    @contextlib.asynccontextmanager
    async def at(cls, url: str) -> AsyncIterator[Self]:
        """The one that listens at this address."""
        async with aiohttp.ClientSession() as http, http.ws_connect(url, max_msg_size=0) as socket:
            browser = cls(socket)
            listener = asyncio.create_task(browser._listen())
            try:
                yield browser
            finally:
                listener.cancel()

    @abstractmethod
    async def tab(self, beside: RemoteTab | None = None) -> RemoteTab:
        """A new, empty page that is seen: in a window of its own, or in that of a page which it hides."""

    async def call(
        self, method: str, session: str | None = None, wait_s: float = PATIENCE_S, **parameters: Any
    ) -> dict[str, Any]:
        """A command of the protocol, to the browser or to a page's session. Raises `PageError`."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": parameters}
        await self._socket.send_json(command | ({"sessionId": session} if session else {}))
        return await asyncio.wait_for(answer, wait_s)

    async def _listen(self) -> None:
        async for frame in self._socket:
            message = frame.json()
            answer = self._answers.pop(message.get("id"), None)
            if answer is None or answer.done():
                continue  # an event, or too late
            if "error" in message:
                answer.set_exception(PageError(str(message)))
            else:
                answer.set_result(message["result"])


async def save(path: Path, base64_content: str) -> None:
    """Write a file, as the protocols of browsers bring it."""
    content = base64.b64decode(base64_content)
    await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
    await asyncio.to_thread(path.write_bytes, content)

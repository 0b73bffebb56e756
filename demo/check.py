"""`doorstep demo --check`: three teachers use the demo as the page does, and what they saw is judged.

The clients only write down what they send and see; the judgement comes when all is over.
"""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import Any

import aiohttp

from doorstep.config.identifiers import RESERVED_PREFIX
from doorstep.demo.app import Demo
from doorstep.demo.evidence import ASSIGNED, FAILED, Evidence, Seen, Sent, judge, report
from doorstep.demo.samples import Sample, sample_essays
from doorstep.demo.teachers import TEACHERS, Teacher

ESSAYS = 30

_WAIT_S = 15.0
_LINGER_S = 0.5


class Device:
    """One WebSocket, and what came through it. Control messages are not written down."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, seen: list[Seen]) -> None:
        self._socket = socket
        self._seen = seen
        self._more = asyncio.Event()

    async def write_down(self) -> None:
        """Until the socket closes, or cancelled."""
        async for frame in self._socket:
            message = frame.json()
            if not message["event"].startswith(RESERVED_PREFIX):
                self._seen.append(Seen(time.monotonic(), message))
                self._more.set()

    async def has(self, count: int) -> None:
        """Return when `count` notifications have come."""
        while len(self._seen) < count:
            self._more.clear()
            await self._more.wait()


class Client:
    """One teacher: her HTTP calls, and any number of devices with a WebSocket each."""

    def __init__(self, demo: Demo, http: aiohttp.ClientSession, teacher: Teacher) -> None:
        self.evidence = Evidence(teacher)
        self._demo = demo
        self._http = http
        self._session: Mapping[str, Any] = {}
        self._start_cursor = ""
        self._devices: list[Device] = []

    async def sign_in(self) -> None:
        """Get a token, and where the WebSocket is."""
        self._session = await self._post("/demo/session", json={"user_id": self.evidence.teacher.user_id})

    @contextlib.asynccontextmanager
    async def device(self) -> AsyncIterator[None]:
        """While the body runs, a WebSocket is open, and what comes is written down."""
        protocols = ("doorstep.v1", f"bearer.{self._session['token']}")
        async with self._http.ws_connect(
            self._session["websocket_url"], protocols=protocols, origin=self._demo.url
        ) as socket:
            welcome = await socket.receive_json()
            self._start_cursor = welcome["cursor"]
            self.evidence.start_seq = int(self._start_cursor.partition("-")[0])
            self.evidence.devices.append([])
            self._devices.append(Device(socket, self.evidence.devices[-1]))
            reader = asyncio.create_task(self._devices[-1].write_down())
            yield
            reader.cancel()

    async def upload(self, samples: Sequence[Sample]) -> None:
        """Register a batch and upload files to it, as one form; those without text should be refused."""
        wanted = {"expected_essay_count": len(samples), "course_code": self.evidence.teacher.course_code}
        batch = await self._post("/v1/batches/register", json=wanted)
        form = aiohttp.FormData({"batch_id": batch["batch_id"]}, quote_fields=False)
        for sample in samples:
            form.add_field("files", sample.text.encode(), filename=sample.name, content_type="text/plain")
        began = time.monotonic()
        answer = await self._post("/v1/files/batch", data=form)
        for sample, file in zip(samples, answer["files"], strict=True):
            event = ASSIGNED if sample.text else FAILED
            sent = Sent(file["file_upload_id"], file["filename"], event, began, answer["correlation_id"])
            self.evidence.sent.append(sent)

    async def has_all(self) -> None:
        """Return when every device has got as many notifications as there were files."""
        await asyncio.gather(*(device.has(len(self.evidence.sent)) for device in self._devices))

    async def cross_check(self) -> None:
        """Ask for the same by polling, and ask the result aggregator."""
        page = await self._get(
            f"{self._demo.gateway_url}/v1/notifications?after={self._start_cursor}&limit=1000"
        )
        self.evidence.polled = page["notifications"]
        self.evidence.results = await self._results()

    async def _results(self) -> Mapping[str, str | None]:
        """Once it has settled all files that were sent: the read model may lag behind."""
        url = f"{self._demo.url}/v1/batches/user/{self.evidence.teacher.user_id}"
        deadline = time.monotonic() + _WAIT_S
        while True:
            batches = (await self._get(url))["batches"]
            files = [file for batch in batches for file in batch["essays"]]
            settled = sum(file["status"] != "uploaded" for file in files)
            if settled >= len(self.evidence.sent) or time.monotonic() > deadline:
                return {file["file_upload_id"]: file["essay_id"] for file in files}
            await asyncio.sleep(0.05)

    async def _post(self, path: str, **body: Any) -> Any:
        request = self._http.post(self._demo.url + path, headers=self._headers(), **body)
        async with request as answer:
            return await _json_of(answer)

    async def _get(self, url: str) -> Any:
        async with self._http.get(url, headers=self._headers()) as answer:
            return await _json_of(answer)

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._session.get('token', '')}"}


class CheckError(Exception):
    """A request of the check was refused; the message says which, and why."""


async def check(demo: Demo, say: Callable[[str], None]) -> list[str]:
    """Thirty essays and one empty file for each of three teachers, one of whom has two devices, all at once.

    Says counts and latencies; returns what was wrong, empty if nothing was.
    Raises `CheckError`, or `aiohttp.ClientError` where the demo is out of reach.
    """
    samples = [*sample_essays(ESSAYS), Sample("Nothing at all.txt", "")]
    async with aiohttp.ClientSession() as http, contextlib.AsyncExitStack() as devices:
        clients = [Client(demo, http, teacher) for teacher in TEACHERS]
        for client in clients:
            await client.sign_in()
        for client in (*clients, clients[0]):
            await devices.enter_async_context(client.device())
        await asyncio.gather(*(client.upload(samples) for client in clients))
        with contextlib.suppress(TimeoutError):  # what is missing then is for the judge
            await asyncio.wait_for(asyncio.gather(*(client.has_all() for client in clients)), _WAIT_S)
        await asyncio.sleep(_LINGER_S)  # for what should not come
        await asyncio.gather(*(client.cross_check() for client in clients))
    evidence = [client.evidence for client in clients]
    for line in report(evidence):
        say(line)
    return [problem for one in evidence for problem in judge(one)]


async def _json_of(answer: aiohttp.ClientResponse) -> Any:
    if answer.status >= 400:
        raise CheckError(f"{answer.method} {answer.url}: {answer.status} {await answer.text()}")
    return await answer.json()

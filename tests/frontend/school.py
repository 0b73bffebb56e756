"""The platform around a page: teachers whose files become essays, RAS, a failing identity provider."""

import asyncio
import itertools
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from aiohttp import web

from tests.support.publisher import Publisher
from tests.support.records import Wire, batch_registered, slot_assigned, validation_failed
from tests.support.service import token_for

IdentityMode = Literal["fine", "short", "cached", "down"]

_SHORT_S = 2.0
FAILS_EVERY = 5


class Teacher:
    """A user with one batch; of her files, every fifth is none that could become an essay."""

    def __init__(self, name: str, batch_id: str, publisher: Publisher) -> None:
        self.name = name
        self.essays: list[dict[str, str | None]] = []
        """What RAS knows of the files."""
        self._batch_id = batch_id
        self._publisher = publisher
        self._numbers = itertools.count(1)
        publisher.send_all([batch_registered(batch_id, name)])

    @property
    def truth(self) -> Sequence[Sequence[str | None]]:
        """What a page has to show: of each file its id, what has become of it, and its essay."""
        fields = ("file_upload_id", "status", "essay_id")
        return sorted([essay[field] for field in fields] for essay in self.essays)

    async def hand_in(self, count: int) -> None:
        """So many files; returns when RAS knows them, and Kafka has the events."""
        await asyncio.to_thread(self._publisher.send_all, [self._one_more() for _ in range(count)])

    def _one_more(self) -> Wire:
        number = next(self._numbers)
        file, essay = f"{self._batch_id}-file-{number}", f"{self._batch_id}-essay-{number}"
        name, moment = f"{number}.txt", datetime.now(UTC).isoformat()
        if number % FAILS_EVERY:
            self._know(file, name, moment, essay_id=essay, text_storage_id="text")
            return slot_assigned(self._batch_id, essay, file, file_name=name, event_timestamp=moment)
        self._know(file, name, moment, error_code="EMPTY_CONTENT", message="The file is empty")
        return validation_failed(self._batch_id, file, file_name=name, event_timestamp=moment)

    def _know(self, file: str, name: str, moment: str, **fate: str) -> None:
        status = "assigned" if "essay_id" in fate else "failed"
        nothing = dict.fromkeys(("essay_id", "text_storage_id", "error_code", "message"))
        about = {"file_upload_id": file, "filename": name, "status": status, "last_updated": moment}
        self.essays.append({**nothing, **about, **fate})

    def answer(self) -> Mapping[str, Any]:
        """As RAS answers."""
        return {"batch_id": self._batch_id, "essays": self.essays}


class School:
    """Serves the page, and what it asks: `/ras?teacher=`, and `/token?teacher=&lane=&why=`."""

    def __init__(self, teachers: Sequence[Teacher], files: Path) -> None:
        self.identity: dict[str, IdentityMode] = {}
        """How the identity provider treats each lane: `fine`, or `short` (a token that ends soon, and no
        refresh), `cached` (always one that has ended), `down`."""
        self.teachers = teachers
        self.site = web.Application()
        self.site.router.add_get("/ras", self._ras)
        self.site.router.add_get("/token", self._token)
        self.site.router.add_static("/", files)

    async def _ras(self, request: web.Request) -> web.Response:
        name = request.query["teacher"]
        return web.json_response([each.answer() for each in self.teachers if each.name == name])

    async def _token(self, request: web.Request) -> web.Response:
        mode = self.identity.get(request.query["lane"], "fine")
        why, teacher = request.query["why"], request.query["teacher"]
        if mode == "down" or (mode == "short" and why == "refresh"):
            return web.Response(status=503)
        lives_s = {"cached": -60.0, "short": _SHORT_S if why == "connect" else 3600.0}.get(mode, 3600.0)
        return web.Response(text=token_for(teacher, ttl_s=lives_s))

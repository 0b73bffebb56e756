"""The read model, as HuleEdu's Result Aggregator Service (RAS) has it: what has become of every file."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from aiohttp import web

from doorstep.demo.identity import user_of
from doorstep.demo.problems import Refused
from doorstep.demo.wire import (
    BATCH_REGISTERED,
    CONTENT_PROVISIONED,
    SLOT_ASSIGNED,
    VALIDATION_FAILED,
    Data,
    Message,
    now,
)

Status = Literal["uploaded", "ready_for_processing", "content_ingestion_failed"]


@dataclass(slots=True)
class EssayFile:
    """One file, and the essay it has become."""

    file_upload_id: str
    filename: str
    status: Status = "uploaded"
    essay_id: str | None = None
    text_storage_id: str | None = None
    error_code: str | None = None
    message: str | None = None
    last_updated: str = field(default_factory=now)


@dataclass(slots=True)
class BatchView:
    """One batch; its user is unknown until its registration arrives."""

    batch_id: str
    user_id: str | None = None
    essay_ids: Sequence[str] = ()
    files: dict[str, EssayFile] = field(default_factory=dict)
    created_at: str = field(default_factory=now)

    def answer(self) -> Data:
        """`BatchStatusResponse`: counts, every file in the order it became known, and every essay of the
        registration with the file that it has, if any."""
        files = list(self.files.values())
        done = sum(file.status == "ready_for_processing" for file in files)
        failed = sum(file.status == "content_ingestion_failed" for file in files)
        expected = len(self.essay_ids)
        return {
            "batch_id": self.batch_id,
            "user_id": self.user_id,
            "overall_status": "ready" if done + failed >= expected else "pending_content",
            "essay_count": expected,
            "completed_essay_count": done,
            "failed_essay_count": failed,
            "essays": [asdict(file) for file in files],
            "essay_slots": self._slots(),
            "created_at": self.created_at,
            "last_updated": max((file.last_updated for file in files), default=self.created_at),
        }

    def _slots(self) -> Sequence[Data]:
        file_of = {file.essay_id: file for file in self.files.values() if file.essay_id}
        return [_slot(essay_id, file_of.get(essay_id)) for essay_id in self.essay_ids]


def _slot(essay_id: str, file: EssayFile | None) -> Data:
    return {
        "essay_id": essay_id,
        "file_upload_id": file.file_upload_id if file else None,
        "text_storage_id": file.text_storage_id if file else None,
    }


class ReadModel:
    """All batches. Events of different topics may come in any order, and more than once. Pure."""

    def __init__(self) -> None:
        self._batches: dict[str, BatchView] = {}

    def apply(self, message: Message) -> None:
        """Take in one event."""
        match message.topic:
            case topic if topic == BATCH_REGISTERED:
                self._registered(message.data)
            case topic if topic == CONTENT_PROVISIONED:
                self._file(message.data["entity_id"], message.data)
            case topic if topic == VALIDATION_FAILED:
                self._failed(message.data)
            case topic if topic == SLOT_ASSIGNED:
                self._assigned(message.data)

    def of_user(self, user_id: str) -> Sequence[BatchView]:
        """The batches of a user, the newest first."""
        found = [batch for batch in self._batches.values() if batch.user_id == user_id]
        return sorted(found, key=lambda batch: batch.created_at, reverse=True)

    def batch(self, batch_id: str, user_id: str) -> BatchView | None:
        """One batch, if it is this user's."""
        batch = self._batches.get(batch_id)
        return batch if batch is not None and batch.user_id == user_id else None

    def _batch(self, batch_id: str) -> BatchView:
        return self._batches.setdefault(batch_id, BatchView(batch_id))

    def _file(self, batch_id: str, data: Data) -> EssayFile:
        new = EssayFile(data["file_upload_id"], data["original_file_name"])
        return self._batch(batch_id).files.setdefault(new.file_upload_id, new)

    def _registered(self, data: Data) -> None:
        batch = self._batch(data["entity_id"])
        batch.user_id = data["user_id"]
        batch.essay_ids = data["essay_ids"]

    def _assigned(self, data: Data) -> None:
        file = self._file(data["batch_id"], data)
        file.status, file.essay_id = "ready_for_processing", data["essay_id"]
        file.text_storage_id, file.last_updated = data["text_storage_id"], now()

    def _failed(self, data: Data) -> None:
        file = self._file(data["entity_id"], data)
        file.status, file.error_code = "content_ingestion_failed", data["validation_error_code"]
        file.message, file.last_updated = data["validation_error_detail"]["message"], now()


class ResultAggregator:
    """`GET /v1/batches/{batch_id}/status` and `GET /v1/batches/user/{user_id}`, each for the user's own only.

    It follows Kafka, so it may lag behind what a notification has already told.
    """

    topics = (BATCH_REGISTERED, CONTENT_PROVISIONED, VALIDATION_FAILED, SLOT_ASSIGNED)

    def __init__(self) -> None:
        self._model = ReadModel()

    def routes(self) -> Sequence[web.RouteDef]:
        """What it serves."""
        return [
            web.get("/v1/batches/{batch_id}/status", self._status),
            web.get("/v1/batches/user/{user_id}", self._batches_of_user),
        ]

    async def handle(self, message: Message) -> None:
        """Take in one event of `topics`."""
        self._model.apply(message)

    async def _status(self, request: web.Request) -> web.Response:
        batch_id = request.match_info["batch_id"]
        batch = self._model.batch(batch_id, user_of(request))
        if batch is None:
            raise Refused(404, "batch_not_found", f"You have no batch {batch_id}.")
        return web.json_response(batch.answer())

    async def _batches_of_user(self, request: web.Request) -> web.Response:
        if request.match_info["user_id"] != user_of(request):
            raise Refused(404, "user_not_found", "You may only see your own batches.")
        return web.json_response({"batches": [one.answer() for one in self._model.of_user(user_of(request))]})

"""Takes essay files, as HuleEdu's File Service does: stores each, reads its text, tells Kafka how it went."""

import asyncio
import hashlib
import itertools
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from aiohttp import BodyPartReader, MultipartReader, web

from doorstep.demo.batch_registry import BatchRegistry
from doorstep.demo.identity import user_of
from doorstep.demo.problems import Refused
from doorstep.demo.stream import Publisher
from doorstep.demo.wire import CONTENT_PROVISIONED, VALIDATION_FAILED, Data, Trace, now

SERVICE = "file-service"
MAX_FILE_BYTES = 1 << 20
MAX_FILES = 500

_KEYED_UPLOADS = uuid.UUID("6f0a1f0e-6d5c-4c55-9f43-2b8f5d0f3a11")


class ContentStore:
    """Files in one directory, each under an id of 32 hex digits. What is stored is never changed."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    async def put(self, content: bytes) -> str:
        """Store; returns the id. Raises `OSError`."""
        storage_id = uuid.uuid4().hex
        await asyncio.to_thread((self._directory / storage_id).write_bytes, content)
        return storage_id

    async def get(self, storage_id: str) -> bytes:
        """What was stored under this id. Raises `OSError`."""
        return await asyncio.to_thread((self._directory / storage_id).read_bytes)


@dataclass(frozen=True, slots=True)
class Upload:
    """One file as it came in."""

    file_upload_id: str
    file_name: str
    content: bytes


class InvalidFileError(Exception):
    """A file that is no essay: `code` is one of HuleEdu's `FileValidationErrorCode`."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


def essay_text(content: bytes) -> str:
    """The text of an essay file. Raises `InvalidFileError` for one that is empty, too long, or not UTF-8."""
    if len(content) > MAX_FILE_BYTES:
        raise InvalidFileError("CONTENT_TOO_LONG", f"The file is larger than {MAX_FILE_BYTES >> 20} MiB.")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        reason = f"The file is not plain text in UTF-8: byte {error.start + 1} cannot be read."
        raise InvalidFileError("TEXT_EXTRACTION_FAILED", reason) from error
    if "\0" in text:
        raise InvalidFileError(
            "TEXT_EXTRACTION_FAILED", "The file is not plain text: it has zero bytes in it."
        )
    if not text.strip():
        raise InvalidFileError("EMPTY_CONTENT", "The file has no text in it.")
    return text


class FileService:
    """`POST /v1/files/batch`, multipart: a field `batch_id`, then any number of `files` -> 202
    `{"batch_id": …, "correlation_id": …, "files": [{"file_upload_id": …, "filename": …}]}`, in the order they
    came.

    202 means that every file is stored, and that Kafka has what became of it: either
    `EssayContentProvisionedV1` or `EssayValidationFailedV1`. A request that is repeated with the same
    `Idempotency-Key` gets the same `file_upload_id`s: to whoever takes files by their id, the same files.
    """

    def __init__(self, store: ContentStore, registry: BatchRegistry, publisher: Publisher) -> None:
        self._store = store
        self._registry = registry
        self._publisher = publisher

    def routes(self) -> Sequence[web.RouteDef]:
        """What it serves."""
        return [web.post("/v1/files/batch", self._upload)]

    async def _upload(self, request: web.Request) -> web.Response:
        ids = upload_ids(user_of(request), request.headers.get("Idempotency-Key"))
        batch_id, uploads = await _read_form(request, ids)
        self._registry.of_user(batch_id, user_of(request))
        trace = Trace.of_request(request.headers)
        await asyncio.gather(*(self._process(batch_id, upload, trace) for upload in uploads))
        files = [{"file_upload_id": one.file_upload_id, "filename": one.file_name} for one in uploads]
        answer = {"batch_id": batch_id, "correlation_id": trace.correlation_id, "files": files}
        return web.json_response(answer, status=202)

    async def _process(self, batch_id: str, upload: Upload, trace: Trace) -> None:
        raw_id = await self._store.put(upload.content)
        try:
            text = essay_text(upload.content)
        except InvalidFileError as refusal:
            topic, data = VALIDATION_FAILED, _failed(batch_id, upload, raw_id, refusal, trace)
        else:
            text_id = await self._store.put(text.encode())
            topic, data = CONTENT_PROVISIONED, _provisioned(batch_id, upload, raw_id, text_id, trace)
        await self._publisher.publish(topic, upload.file_upload_id, data, trace)


def upload_ids(user_id: str, key: str | None) -> Iterator[str]:
    """Ids for the files of one request: the same for the same user and key, new ones without a key."""
    for index in itertools.count():
        yield str(uuid.uuid4() if key is None else uuid.uuid5(_KEYED_UPLOADS, f"{user_id} {key} {index}"))


async def _read_form(request: web.Request, ids: Iterator[str]) -> tuple[str, Sequence[Upload]]:
    if request.content_type != "multipart/form-data":
        raise Refused(400, "not_multipart", "Send the files as multipart/form-data.")
    try:
        batch_id, uploads = await _read_parts(await request.multipart(), ids)
    except ValueError as error:
        raise Refused(400, "bad_multipart", f"The form cannot be read: {error}.") from error
    if not batch_id or not 0 < len(uploads) <= MAX_FILES:
        raise Refused(400, "bad_upload", f"A batch_id and 1 to {MAX_FILES} files are needed.")
    return batch_id, uploads


async def _read_parts(form: MultipartReader, ids: Iterator[str]) -> tuple[str, Sequence[Upload]]:
    batch_id, uploads = "", []
    async for part in form:
        if not isinstance(part, BodyPartReader):
            raise ValueError("a part of it is a form itself")
        if part.name == "batch_id":
            batch_id = await part.text()
        elif part.name == "files" and part.filename:
            uploads.append(await _read_file(next(ids), part, part.filename))
    return batch_id, uploads


async def _read_file(file_upload_id: str, part: BodyPartReader, name: str) -> Upload:
    # Browsers write a quotation mark in a file name so (HTML, "multipart form data").
    name = name.replace("%22", '"')
    return Upload(file_upload_id, name, bytes(await part.read(decode=True)))


def _provisioned(batch_id: str, upload: Upload, raw_id: str, text_id: str, trace: Trace) -> Data:
    """`EssayContentProvisionedV1`."""
    return _about_file("essay.content.provisioned", batch_id, upload, raw_id, trace) | {
        "text_storage_id": text_id,
        "content_md5_hash": hashlib.md5(upload.content, usedforsecurity=False).hexdigest(),
    }


def _failed(batch_id: str, upload: Upload, raw_id: str, refusal: InvalidFileError, trace: Trace) -> Data:
    """`EssayValidationFailedV1`."""
    return _about_file("essay.validation.failed", batch_id, upload, raw_id, trace) | {
        "validation_error_code": refusal.code,
        "validation_error_detail": {
            "error_code": refusal.code,
            "message": refusal.message,
            "correlation_id": trace.correlation_id,
            "timestamp": now(),
            "service": SERVICE,
            "operation": "essay_text",
            "details": {"file_name": upload.file_name},
            "stack_trace": None,
            "trace_id": None,
            "span_id": None,
        },
    }


def _about_file(event: str, batch_id: str, upload: Upload, raw_id: str, trace: Trace) -> dict[str, object]:
    return {
        "event": event,
        "entity_id": batch_id,
        "file_upload_id": upload.file_upload_id,
        "original_file_name": upload.file_name,
        "raw_file_storage_id": raw_id,
        "file_size_bytes": len(upload.content),
        "correlation_id": trace.correlation_id,
        "timestamp": now(),
    }

"""Gives every file an essay of its batch, as HuleEdu's Essay Lifecycle Service (ELS) does."""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from doorstep.demo.stream import Publisher
from doorstep.demo.wire import (
    BATCH_REGISTERED,
    CONTENT_PROVISIONED,
    EXCESS_CONTENT,
    SLOT_ASSIGNED,
    Data,
    Message,
    Trace,
    now,
)

SERVICE = "essay-lifecycle-service"


@dataclass(frozen=True, slots=True)
class Content:
    """A file whose text is ready."""

    batch_id: str
    file_upload_id: str
    file_name: str
    text_storage_id: str
    trace: Trace


@dataclass(frozen=True, slots=True)
class Assigned:
    """The file has become this essay."""

    content: Content
    essay_id: str


@dataclass(frozen=True, slots=True)
class Excess:
    """The batch has no essay left for this file."""

    content: Content


class Slots:
    """The essays of all batches, and which file each of them has. Pure.

    A file keeps its essay: the same file again gives the same answer. Files that come before their batch is
    known wait for it.
    """

    def __init__(self) -> None:
        self._free: dict[str, deque[str]] = {}
        self._waiting: dict[str, list[Content]] = {}
        self._answers: dict[str, Assigned | Excess] = {}

    def register(self, batch_id: str, essay_ids: Iterable[str]) -> Sequence[Assigned | Excess]:
        """Register a batch (a repeat changes nothing); returns the answers for what waited for it."""
        self._free.setdefault(batch_id, deque(essay_ids))
        return [self._answer(content) for content in self._waiting.pop(batch_id, ())]

    def place(self, content: Content) -> Assigned | Excess | None:
        """A file comes; `None` while its batch is not known."""
        if content.batch_id not in self._free:
            self._waiting.setdefault(content.batch_id, []).append(content)
            return None
        return self._answer(content)

    def _answer(self, content: Content) -> Assigned | Excess:
        known = self._answers.get(content.file_upload_id)
        if known is not None:
            return known
        free = self._free[content.batch_id]
        answer = Assigned(content, free.popleft()) if free else Excess(content)
        self._answers[content.file_upload_id] = answer
        return answer


class EssayLifecycle:
    """Consumes registrations and provisioned content; publishes `EssaySlotAssignedV1`, or
    `ExcessContentProvisionedV1` for a file beyond the expected count."""

    topics = (BATCH_REGISTERED, CONTENT_PROVISIONED)

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._slots = Slots()

    async def handle(self, message: Message) -> None:
        """Take in one event of `topics`; returns when Kafka has the answers. Raises `KafkaError`."""
        for answer in self._decide(message):
            await self._publish(answer)

    def _decide(self, message: Message) -> Sequence[Assigned | Excess]:
        data = message.data
        if message.topic == BATCH_REGISTERED:
            return self._slots.register(data["entity_id"], data["essay_ids"])
        answer = self._slots.place(_content(data, message.trace))
        return [answer] if answer else []

    async def _publish(self, answer: Assigned | Excess) -> None:
        content = answer.content
        if isinstance(answer, Assigned):
            topic, key, data = SLOT_ASSIGNED, answer.essay_id, slot_assigned(content, answer.essay_id)
        else:
            topic, key, data = EXCESS_CONTENT, content.batch_id, _excess(content)
        await self._publisher.publish(topic, key, data, content.trace)


def _content(data: Data, trace: Trace) -> Content:
    return Content(
        batch_id=data["entity_id"],
        file_upload_id=data["file_upload_id"],
        file_name=data["original_file_name"],
        text_storage_id=data["text_storage_id"],
        trace=trace,
    )


def slot_assigned(content: Content, essay_id: str) -> Data:
    """`EssaySlotAssignedV1`."""
    return {
        "event": "essay.slot.assigned",
        "batch_id": content.batch_id,
        "essay_id": essay_id,
        "file_upload_id": content.file_upload_id,
        "text_storage_id": content.text_storage_id,
        "original_file_name": content.file_name,
        "correlation_id": content.trace.correlation_id,
        "timestamp": now(),
    }


def _excess(content: Content) -> Data:
    """`ExcessContentProvisionedV1`."""
    return {
        "event": "excess.content.provisioned",
        "batch_id": content.batch_id,
        "original_file_name": content.file_name,
        "text_storage_id": content.text_storage_id,
        "reason": "NO_AVAILABLE_SLOT",
        "correlation_id": content.trace.correlation_id,
        "timestamp": now(),
    }

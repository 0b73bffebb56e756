"""Registers batches, as HuleEdu's Batch Orchestrator does: who owns one, and which essays it will have."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from aiohttp import web

from doorstep.demo.identity import user_of
from doorstep.demo.problems import Refused
from doorstep.demo.stream import Publisher
from doorstep.demo.wire import BATCH_REGISTERED, Data, Trace, now

SERVICE = "batch-service"
MAX_ESSAYS = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """A set of essays that one teacher expects."""

    batch_id: str
    user_id: str
    course_code: str
    essay_ids: Sequence[str]


class BatchRegistry:
    """`POST /v1/batches/register` `{"expected_essay_count": 30, "course_code": "ENG5"}` -> 202
    `{"batch_id": …, "correlation_id": …}`.

    202 means that Kafka has the registration.
    """

    def __init__(self, publisher: Publisher) -> None:
        self._publisher = publisher
        self._batches: dict[str, Batch] = {}

    def routes(self) -> Sequence[web.RouteDef]:
        """What it serves."""
        return [web.post("/v1/batches/register", self._register)]

    def of_user(self, batch_id: str, user_id: str) -> Batch:
        """A batch that this user may change. Raises `Refused` (404) for any other, existing or not."""
        batch = self._batches.get(batch_id)
        if batch is None or batch.user_id != user_id:
            raise Refused(404, "batch_not_found", f"You have no batch {batch_id}. Register one first.")
        return batch

    async def _register(self, request: web.Request) -> web.Response:
        count, course = _wanted(await request.json())
        essay_ids = [str(uuid.uuid4()) for _ in range(count)]
        batch = Batch(str(uuid.uuid4()), user_of(request), course, essay_ids)
        trace = Trace.of_request(request.headers)
        await self._publisher.publish(BATCH_REGISTERED, batch.batch_id, registered(batch), trace)
        self._batches[batch.batch_id] = batch
        answer = {"batch_id": batch.batch_id, "correlation_id": trace.correlation_id}
        return web.json_response(answer, status=202)


def _wanted(body: object) -> tuple[int, str]:
    match body:
        case {"expected_essay_count": int(count), "course_code": str(course)} if 0 < count <= MAX_ESSAYS:
            return count, course
    raise Refused(400, "bad_registration", f"Send expected_essay_count, 1 to {MAX_ESSAYS}, and course_code.")


def registered(batch: Batch) -> Data:
    """`BatchEssaysRegistered`."""
    return {
        "event": "batch.essays.registered",
        "entity_id": batch.batch_id,
        "expected_essay_count": len(batch.essay_ids),
        "essay_ids": batch.essay_ids,
        "metadata": {
            "entity_id": batch.batch_id,
            "entity_type": "batch",
            "parent_id": None,
            "timestamp": now(),
            "processing_stage": "pending",
            "started_at": None,
            "completed_at": None,
            "event": "batch.essays.registered",
            "error_info": {},
        },
        "course_code": batch.course_code,
        "student_prompt_ref": None,
        "user_id": batch.user_id,
        "org_id": None,
        "class_id": None,
    }

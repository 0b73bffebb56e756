"""The services speak their interfaces: HTTP to the teacher, HuleEdu's records to a real Kafka."""

import asyncio
import hashlib
import uuid
from datetime import datetime
from typing import Any

import aiohttp
import pytest

from doorstep.demo.wire import (
    BATCH_REGISTERED,
    CONTENT_PROVISIONED,
    EXCESS_CONTENT,
    SLOT_ASSIGNED,
    VALIDATION_FAILED,
)
from tests.conftest import KafkaFactory
from tests.demo.conftest import Services, services_on, tape
from tests.support.names import Names

CORRELATION_ID = "0b8f3a52-8d2f-4e0c-9a1d-2f1f5a0b7c11"
TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
ODD_NAME = 'Åsa\'s "best" <essay> 李 100%.txt'


def assert_envelope(envelope: dict[str, Any], topic: str, service: str) -> dict[str, Any]:
    """The form of HuleEdu's envelope; returns its data without what differs from time to time."""
    assert uuid.UUID(envelope["event_id"])
    assert datetime.fromisoformat(envelope["event_timestamp"]).tzinfo is not None
    assert (envelope["event_type"], envelope["source_service"]) == (topic, service)
    assert (envelope["schema_version"], envelope["data_schema_uri"]) == (1, None)
    data: dict[str, Any] = envelope["data"]
    if "timestamp" in data:
        assert datetime.fromisoformat(data.pop("timestamp")).tzinfo is not None
        assert data.pop("correlation_id") == envelope["correlation_id"]
    return data


async def test_a_registration_tells_kafka_whose_batch_it_is(services: Services, names: Names) -> None:
    teacher = services.as_user(names.user())
    async with tape(services.kafka.bootstrap_servers, BATCH_REGISTERED) as registrations:
        batch_id = await teacher.register(3)
        (record,) = await registrations.records(batch_id, 1)
        (envelope,) = await registrations.envelopes(batch_id, 1)
    assert record.key == batch_id.encode()
    assert record.headers == ()
    data = assert_envelope(envelope, BATCH_REGISTERED, "batch-service")
    assert (data["entity_id"], data["user_id"]) == (batch_id, teacher.user_id)
    assert data["expected_essay_count"] == 3
    assert len({uuid.UUID(one) for one in data["essay_ids"]}) == 3


@pytest.mark.parametrize(
    "wanted", [{}, {"expected_essay_count": 0, "course_code": "ENG5"}, {"expected_essay_count": 3}, [], "x"]
)
async def test_a_registration_without_what_it_needs_is_refused(
    services: Services, names: Names, wanted: object
) -> None:
    answer = await services.as_user(names.user()).post("/v1/batches/register", json=wanted)
    assert (answer.status, answer.body["code"]) == (400, "bad_registration")


async def test_files_become_essays_and_the_refused_say_why(services: Services, names: Names) -> None:
    teacher = services.as_user(names.user())
    batch_id = await teacher.register(3)
    files = [
        (ODD_NAME, b"An essay."),
        ("empty.txt", b" "),
        ("photo.jpg", b"\xff\xd8"),
        ("b.txt", b"Another."),
    ]
    answer = await teacher.upload(batch_id, *files)
    assert answer.status == 202
    assert [one["filename"] for one in answer.body["files"]] == [name for name, _ in files]
    ids = [one["file_upload_id"] for one in answer.body["files"]]
    status = await teacher.settled(batch_id, files=4)
    assert (status["user_id"], status["essay_count"]) == (teacher.user_id, 3)
    assert (status["completed_essay_count"], status["failed_essay_count"]) == (2, 2)
    fates = {one["file_upload_id"]: one for one in status["essays"]}
    assert set(fates) == set(ids)
    assert len({fates[ids[0]]["essay_id"], fates[ids[3]]["essay_id"]} - {None}) == 2
    assert [fates[one]["error_code"] for one in ids] == [
        None,
        "EMPTY_CONTENT",
        "TEXT_EXTRACTION_FAILED",
        None,
    ]
    assert fates[ids[0]]["filename"] == ODD_NAME


async def test_the_records_of_a_file_have_huleedus_form(services: Services, names: Names) -> None:
    teacher = services.as_user(names.user())
    headers = {"X-Correlation-ID": CORRELATION_ID, "traceparent": TRACEPARENT}
    async with (
        tape(services.kafka.bootstrap_servers, CONTENT_PROVISIONED) as contents,
        tape(services.kafka.bootstrap_servers, VALIDATION_FAILED) as failures,
        tape(services.kafka.bootstrap_servers, SLOT_ASSIGNED) as slots,
    ):
        batch_id = await teacher.register(1)
        answer = await teacher.upload(batch_id, (ODD_NAME, b"An essay."), ("no.txt", b""), headers=headers)
        good, bad = (one["file_upload_id"] for one in answer.body["files"])
        (content,) = await contents.records(batch_id, 1)
        (provisioned,) = await contents.envelopes(batch_id, 1)
        (failed,) = await failures.envelopes(batch_id, 1)
        (slot,) = await slots.records(batch_id, 1)
        (assigned,) = await slots.envelopes(batch_id, 1)
    assert answer.body["correlation_id"] == CORRELATION_ID
    for envelope in (provisioned, failed, assigned):
        assert envelope["correlation_id"] == CORRELATION_ID
        assert envelope["metadata"] == {"traceparent": TRACEPARENT}
    data = assert_envelope(provisioned, CONTENT_PROVISIONED, "file-service")
    raw_id, text_id = data.pop("raw_file_storage_id"), data.pop("text_storage_id")
    assert data == {
        "event": "essay.content.provisioned",
        "entity_id": batch_id,
        "file_upload_id": good,
        "original_file_name": ODD_NAME,
        "file_size_bytes": 9,
        "content_md5_hash": hashlib.md5(b"An essay.").hexdigest(),
    }
    assert raw_id != text_id
    assert (len(text_id), content.key) == (32, good.encode())
    data = assert_envelope(failed, VALIDATION_FAILED, "file-service")
    assert (data["entity_id"], data["file_upload_id"]) == (batch_id, bad)
    assert (data["original_file_name"], data["validation_error_code"]) == ("no.txt", "EMPTY_CONTENT")
    assert data["validation_error_detail"]["message"] == "The file has no text in it."
    data = assert_envelope(assigned, SLOT_ASSIGNED, "essay-lifecycle-service")
    essay_id = data.pop("essay_id")
    assert data == {
        "event": "essay.slot.assigned",
        "batch_id": batch_id,
        "file_upload_id": good,
        "text_storage_id": text_id,
        "original_file_name": ODD_NAME,
    }
    assert slot.key == essay_id.encode()


async def test_a_file_beyond_the_expected_count_is_told_as_excess(services: Services, names: Names) -> None:
    teacher = services.as_user(names.user())
    async with tape(services.kafka.bootstrap_servers, EXCESS_CONTENT) as excesses:
        batch_id = await teacher.register(1)
        await teacher.upload(batch_id, ("a.txt", b"a"), ("b.txt", b"b"))
        (envelope,) = await excesses.envelopes(batch_id, 1)
    data = assert_envelope(envelope, EXCESS_CONTENT, "essay-lifecycle-service")
    assert (data["batch_id"], data["reason"]) == (batch_id, "NO_AVAILABLE_SLOT")


async def test_a_repeated_upload_is_one_file_with_one_essay(services: Services, names: Names) -> None:
    teacher = services.as_user(names.user())
    batch_id = await teacher.register(2)
    key = {"Idempotency-Key": names.user()}
    first, again = [await teacher.upload(batch_id, ("a.txt", b"An essay."), headers=key) for _ in range(2)]
    assert first.body["files"] == again.body["files"]
    await teacher.upload(batch_id, ("b.txt", b"Another."))
    batch = await teacher.settled(batch_id, 2)
    assert sorted(one["filename"] for one in batch["essays"]) == ["a.txt", "b.txt"]
    assert {one["file_upload_id"] for one in batch["essay_slots"]} == {
        one["file_upload_id"] for one in batch["essays"]
    }


async def test_two_hundred_files_at_once_each_get_an_essay(services: Services, names: Names) -> None:
    teacher = services.as_user(names.user())
    batch_id = await teacher.register(200)
    await teacher.upload(batch_id, *((f"{number}.txt", b"text") for number in range(200)))
    essays = [one["essay_id"] for one in (await teacher.settled(batch_id, files=200))["essays"]]
    assert len(set(essays) - {None}) == 200


async def test_nobody_sees_or_changes_anothers_batch(services: Services, names: Names) -> None:
    owner, other = services.as_user(names.user("owner")), services.as_user(names.user("other"))
    batch_id = await owner.register(1)
    await owner.upload(batch_id, ("a.txt", b"a"))
    await owner.settled(batch_id, files=1)
    assert (await other.upload(batch_id, ("b.txt", b"b"))).status == 404
    assert (await other.get(f"/v1/batches/{batch_id}/status")).status == 404
    assert (await other.get(f"/v1/batches/user/{owner.user_id}")).status == 404
    assert (await other.get(f"/v1/batches/user/{other.user_id}")).body == {"batches": []}
    assert len((await owner.get(f"/v1/batches/user/{owner.user_id}")).body["batches"]) == 1


@pytest.mark.parametrize(
    ("authorization", "code"),
    [("", "token_missing"), ("Basic YTpi", "token_missing"), ("Bearer ey.ey.ey", "token_invalid")],
)
async def test_without_a_valid_token_nothing_is_served(
    services: Services, authorization: str, code: str
) -> None:
    headers = {"Authorization": authorization}
    async with services.http.get(f"{services.url}/v1/batches/user/x", headers=headers) as answer:
        assert answer.status == 401
        assert answer.content_type == "application/problem+json"
        assert (await answer.json())["code"] == code


async def test_an_upload_that_is_no_form_of_files_is_refused(services: Services, names: Names) -> None:
    teacher = services.as_user(names.user())
    batch_id = await teacher.register(1)
    nested = aiohttp.MultipartWriter("form-data")
    nested.append(aiohttp.MultipartWriter("mixed"))
    broken = {"Content-Type": "multipart/form-data; boundary=x"}
    no_files = aiohttp.FormData({"batch_id": batch_id}, default_to_multipart=True)
    answers = [
        await teacher.post("/v1/files/batch", json={"batch_id": batch_id}),
        await teacher.post("/v1/files/batch", data=no_files),
        await teacher.post("/v1/files/batch", data=nested),
        await teacher.post("/v1/files/batch", data=b"no parts", headers=broken),
        await teacher.post("/v1/batches/register", data=b"\xff"),
    ]
    assert [(answer.status, answer.body["code"]) for answer in answers] == [
        (400, "not_multipart"),
        (400, "bad_upload"),
        (400, "bad_multipart"),
        (400, "bad_multipart"),
        (400, "unreadable_body"),
    ]
    assert (await teacher.upload(batch_id, ("a.txt", b"a"))).status == 202


async def test_a_file_name_is_read_as_browsers_write_it(services: Services, names: Names) -> None:
    teacher = services.as_user(names.user())
    batch_id = await teacher.register(1)
    body = (
        f'--x\r\nContent-Disposition: form-data; name="batch_id"\r\n\r\n{batch_id}\r\n'
        '--x\r\nContent-Disposition: form-data; name="files"; filename="Åsa %22best%22 50%.txt"\r\n'
        "Content-Type: text/plain\r\n\r\nAn essay.\r\n--x--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    answer = await teacher.post("/v1/files/batch", headers=headers, data=body.encode())
    assert [one["filename"] for one in answer.body["files"]] == ['Åsa "best" 50%.txt']


async def test_while_kafka_is_away_uploads_are_refused_and_then_go_on(
    kafka_factory: KafkaFactory, names: Names
) -> None:
    kafka = kafka_factory()
    async with services_on(kafka.bootstrap) as services:
        teacher = services.as_user(names.user())
        batch_id = await teacher.register(1)
        await asyncio.to_thread(kafka.stop, kill=True)
        answer = await teacher.post(
            "/v1/batches/register", json={"expected_essay_count": 1, "course_code": "ENG5"}
        )
        assert (answer.status, answer.body["code"]) == (503, "kafka_unavailable")
        await asyncio.to_thread(kafka.start)
        await teacher.upload(batch_id, ("a.txt", b"a"))
        assert (await teacher.settled(batch_id, files=1))["completed_essay_count"] == 1

"""The read model comes to the same, in whatever order the events come."""

import itertools
from typing import Any

import pytest

from doorstep.demo.result_aggregator import ReadModel
from doorstep.demo.wire import (
    BATCH_REGISTERED,
    CONTENT_PROVISIONED,
    SLOT_ASSIGNED,
    VALIDATION_FAILED,
    Message,
    Trace,
)

TRACE = Trace("0b8f3a52-8d2f-4e0c-9a1d-2f1f5a0b7c11")

REGISTERED = Message(
    BATCH_REGISTERED,
    {"entity_id": "b", "user_id": "u", "expected_essay_count": 2, "essay_ids": ["e", "free"]},
    TRACE,
)
PROVISIONED = Message(
    CONTENT_PROVISIONED, {"entity_id": "b", "file_upload_id": "f", "original_file_name": "Åsa.txt"}, TRACE
)
ASSIGNED = Message(
    SLOT_ASSIGNED,
    {
        "batch_id": "b",
        "essay_id": "e",
        "file_upload_id": "f",
        "text_storage_id": "t",
        "original_file_name": "Åsa.txt",
    },
    TRACE,
)
FAILED = Message(
    VALIDATION_FAILED,
    {
        "entity_id": "b",
        "file_upload_id": "g",
        "original_file_name": "empty",
        "validation_error_code": "EMPTY_CONTENT",
        "validation_error_detail": {"message": "no text"},
    },
    TRACE,
)


def essays_of(model: ReadModel) -> dict[str, dict[str, Any]]:
    batch = model.batch("b", "u")
    assert batch is not None
    times = ("last_updated",)
    return {
        one["file_upload_id"]: {name: value for name, value in one.items() if name not in times}
        for one in batch.answer()["essays"]
    }


@pytest.mark.parametrize("order", list(itertools.permutations([REGISTERED, PROVISIONED, ASSIGNED, FAILED])))
def test_any_order_gives_the_same(order: tuple[Message, ...]) -> None:
    model = ReadModel()
    for message in (*order, *order):
        model.apply(message)
    assert essays_of(model) == {
        "f": {
            "file_upload_id": "f",
            "filename": "Åsa.txt",
            "status": "ready_for_processing",
            "essay_id": "e",
            "text_storage_id": "t",
            "error_code": None,
            "message": None,
        },
        "g": {
            "file_upload_id": "g",
            "filename": "empty",
            "status": "content_ingestion_failed",
            "essay_id": None,
            "text_storage_id": None,
            "error_code": "EMPTY_CONTENT",
            "message": "no text",
        },
    }


def test_a_batch_is_ready_when_all_its_files_are_settled() -> None:
    model = ReadModel()
    seen = []
    for message in (REGISTERED, PROVISIONED, ASSIGNED, FAILED):
        model.apply(message)
        answer = model.of_user("u")[0].answer()
        seen.append((answer["overall_status"], answer["completed_essay_count"], answer["failed_essay_count"]))
    assert seen == [
        ("pending_content", 0, 0),
        ("pending_content", 0, 0),
        ("pending_content", 1, 0),
        ("ready", 1, 1),
    ]


def test_essays_without_a_file_are_listed_too() -> None:
    model = ReadModel()
    for message in (ASSIGNED, REGISTERED):
        model.apply(message)
    assert model.of_user("u")[0].answer()["essay_slots"] == [
        {"essay_id": "e", "file_upload_id": "f", "text_storage_id": "t"},
        {"essay_id": "free", "file_upload_id": None, "text_storage_id": None},
    ]


def test_a_batch_is_its_users_alone() -> None:
    model = ReadModel()
    model.apply(PROVISIONED)
    assert model.batch("b", "u") is None
    model.apply(REGISTERED)
    assert model.batch("b", "somebody else") is None
    assert model.of_user("somebody else") == []
    assert [one.batch_id for one in model.of_user("u")] == ["b"]

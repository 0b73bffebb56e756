"""The main job, on real parts: what is published reaches the browsers of its user, and nobody else's."""

import asyncio
import json
import urllib.request
from collections.abc import Iterator

import pytest

from tests.e2e.conftest import Launch
from tests.support.browser import Browser
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import (
    LIFECYCLE_SLOT_TOPIC,
    batch_registered,
    slot_assigned,
    teacher_notification,
    validation_failed,
)
from tests.support.service import Service, token_for


@pytest.fixture(scope="module")
def service(launch: Launch) -> Iterator[Service]:
    """One for all tests here, with two holders and short logs."""
    with launch(DOORSTEP_HOLDERS="2", DOORSTEP_HISTORY__MAX_COUNT="250") as service:
        yield service


async def test_an_event_reaches_all_devices_of_its_user_and_nobody_else(
    service: Service, publisher: Publisher, names: Names
) -> None:
    teacher, other, batch = names.user("teacher"), names.user("other"), names.batch()
    traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
    async with (
        Browser(service.address, teacher) as laptop,
        Browser(service.address, teacher) as phone,
        Browser(service.address, other) as stranger,
    ):
        publisher.send_all([batch_registered(batch, teacher)])
        slot = slot_assigned(
            batch,
            "essay-1",
            "file-1",
            topic=LIFECYCLE_SLOT_TOPIC,
            correlation_id="c-1",
            metadata={"traceparent": traceparent},
        )
        publisher.send_all([slot])
        await laptop.wait_for(1)
        publisher.send_all([validation_failed(batch, "file-2")])
        await laptop.wait_for(2)
        publisher.send_all([teacher_notification(teacher, {"message": "Klart"})])
        await laptop.wait_for(3)
        await phone.wait_for(3)

    assert laptop.journal.notifications == phone.journal.notifications
    assert stranger.journal.notifications == []
    assigned, failed, asked = laptop.journal.notifications
    sent = json.loads(slot.value)
    assert assigned["event"] == "essay.slot.assigned"
    assert assigned["id"] == sent["event_id"]
    assert assigned["correlation_id"] == "c-1"
    assert assigned["timestamp"] == sent["event_timestamp"]
    assert assigned["traceparent"] == traceparent
    assert (
        assigned["data"].items()
        >= {"batch_id": batch, "essay_id": "essay-1", "file_upload_id": "file-1"}.items()
    )
    for field in ("text_storage_id", "original_file_name"):
        assert assigned["data"][field] == sent["data"][field]
    assert failed["event"] == "essay.validation.failed"
    assert failed["data"]["error_code"] == "EMPTY_CONTENT"
    assert failed["data"]["file_upload_id"] == "file-2"
    assert asked["event"] == "batch_processing_completed"
    assert asked["data"]["message"] == "Klart"
    assert [n["seq"] for n in laptop.journal.notifications] == [1, 2, 3]


async def test_resuming_polling_and_listening_give_the_same_sequence(
    service: Service, publisher: Publisher, names: Names
) -> None:
    teacher = names.user("teacher")
    async with Browser(service.address, teacher) as steady, Browser(service.address, teacher) as shaky:
        start = steady.cursor
        for number in range(200):
            publisher.send(teacher_notification(teacher, {"number": number}))
            if number % 40 == 0:
                shaky.cut()
            await asyncio.sleep(0.002)
        await asyncio.to_thread(publisher.flush)
        await steady.wait_for(200)
        await shaky.wait_for(200)
    polled = await asyncio.to_thread(_poll_all, service, teacher, start)

    assert [n["data"]["number"] for n in steady.journal.notifications] == list(range(200))
    assert shaky.journal.notifications == steady.journal.notifications
    assert polled == steady.journal.notifications
    assert shaky.journal.connects > 1
    assert shaky.journal.resets == []


async def test_a_cursor_that_can_not_be_continued_is_reset(
    service: Service, publisher: Publisher, names: Names
) -> None:
    teacher = names.user("teacher")
    async with Browser(service.address, teacher) as device:
        first = device.cursor
        publisher.send_all(teacher_notification(teacher, {"number": number}) for number in range(600))
        await device.wait_for(600)
        head = device.cursor
    assert first is not None
    assert head is not None

    cursors = {
        "trimmed": device.journal.notifications[10]["cursor"],
        "diverged": f"{device.journal.notifications[-2]['seq']}-0123456789abcdef",
        "malformed": "yesterday",
    }
    for reason, cursor in cursors.items():
        async with Browser(service.address, teacher, cursor=cursor) as late:
            await asyncio.sleep(0.2)
        assert late.journal.resets == [reason]
        assert late.cursor == head
        assert late.journal.notifications == []
        answer = await asyncio.to_thread(_poll, service, teacher, cursor)
        assert answer == {
            "notifications": [],
            "cursor": head,
            "read": 0,
            "reset": True,
            "reset_reason": reason,
        }


def _poll(service: Service, user_id: str, after: str | None) -> dict[str, object]:
    query = "" if after is None else f"&after={after}"
    request = urllib.request.Request(
        f"http://{service.address}/v1/notifications?limit=30{query}",
        headers={"Authorization": f"Bearer {token_for(user_id)}"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return dict(json.loads(answer.read()))


def _poll_all(service: Service, user_id: str, after: str | None) -> list[object]:
    everything: list[object] = []
    while True:
        answer = _poll(service, user_id, after)
        some = answer["notifications"]
        assert isinstance(some, list)
        if not some:
            return everything
        everything += some
        after = str(answer["cursor"])

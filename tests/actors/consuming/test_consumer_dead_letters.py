"""Records that can't be delivered never stop a partition, and are kept whole: on a real Kafka and Valkey."""

import hashlib
import json
import os

from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from structlog.testing import capture_logs

from tests.actors.consuming.consumer_world import World
from tests.actors.consuming.raw_produce import produce_batch

_GOOD = b'{"event_type": "TOPIC", "event_timestamp": "2026-11-23T08:15:30Z", "data": DATA}'


def _poison(topic: str) -> dict[str, bytes]:
    """Values that are no notification, by what is wrong."""
    envelope = _GOOD.replace(b"TOPIC", topic.encode())
    return {
        "truncated": envelope[:-20],
        "empty": b"",
        "NUL": b"\0" * 100,
        "not UTF-8": b'{"event_type": "\xff\xfe"}',
        "array": b"[1, 2, 3]",
        "number": b"17",
        "null": b"null",
        "deep": b"[" * 10_000 + b"]" * 10_000,
        "no fields": b"{}",
        "missing fields": envelope.replace(b"DATA", b"{}"),
        "wrong types": envelope.replace(b"DATA", b'{"teacher_id": 1, "notification_type": []}'),
        "other event": envelope.replace(topic.encode(), b"some.other.topic").replace(b"DATA", b"{}"),
        "too long": b'"' + b"x" * 2_000_000 + b'"',
    }


async def test_poison_never_stops_a_partition(world: World) -> None:
    user = world.names.user()
    poison = _poison(world.notifications)
    async with world.consumer() as consumer:
        for number, value in enumerate(poison.values()):
            world.produce(world.notifications, value, b"poison", partition=0)
            good = world.notification(user, f"note-{number}")
            world.publisher.send(good, partition=0)
            world.publisher.flush()
        world.produce(world.notifications, None, b"tombstone", partition=0)
        notifications = await world.logged(user, len(poison))
        assert [each["event"] for each in notifications] == [f"note-{n}" for n in range(len(poison))]
        dead_letters = await world.dead_letters(len(poison))

        async def skipped() -> bool:
            return await world.counted(consumer, "skipped", "tombstone") == 1

        await world.until(skipped, "the tombstone is counted")
    assert [letter.value for letter in dead_letters] == list(poison.values())
    reasons = {letter.reason for letter in dead_letters}
    assert reasons == {"invalid_json", "invalid_contract", "unknown_event", "oversized"}


async def test_a_dead_letter_says_everything(world: World) -> None:
    value = world.notification("\0", "note", correlation_id="corr-1").value
    headers = [("traceparent", b"00-ab"), ("doorstep-reason", b"of an earlier time"), ("empty", None)]
    with capture_logs() as lines:
        async with world.consumer():
            world.produce(world.notifications, value, b"the key", partition=2, headers=headers)
            (letter,) = await world.dead_letters(1)
    assert letter.key == b"the key"
    assert letter.value == value
    assert letter.headers["traceparent"] == b"00-ab"
    assert letter.headers["empty"] is None
    assert letter.reason == "invalid_user"
    assert letter.source == f"{world.notifications}/2/0"
    (line,) = [each for each in lines if each["event"] == "dead_lettered"]
    assert (line["reason"], line["source"], line["correlation_id"]) == (
        letter.reason, letter.source, "corr-1",
    )  # fmt: skip
    error = letter.error
    assert error["error_code"] == "INVALID_USER"
    assert error["correlation_id"] == "corr-1"
    assert error["service"] == "doorstep"
    assert error["operation"] == "decode"
    assert set(error) == {
        "error_code", "message", "correlation_id", "timestamp", "service", "operation", "details",
    }  # fmt: skip


async def test_a_letter_too_large_for_the_broker_is_kept_without_its_value(world: World) -> None:
    _make_topic(world, {"max.message.bytes": "50000"})
    user, value = world.names.user(), os.urandom(2_000_000)
    async with world.consumer():
        world.produce(world.notifications, b"{}", b"small", partition=1)
        world.produce(world.notifications, value, b"key", partition=1, headers=[("theirs", b"kept")])
        world.produce(world.notifications, b"{}", b"small", partition=1)
        world.publisher.send(world.notification(user), partition=1)
        world.publisher.flush()
        await world.logged(user, 1)
        dead_letters = await world.dead_letters(3)
    (large,) = [letter for letter in dead_letters if letter.key == b"key"]
    assert large.value is not None
    assert json.loads(large.value) == {"size": 2_000_000, "sha256": hashlib.sha256(value).hexdigest()}
    assert large.headers["theirs"] == b"kept"
    assert large.source == f"{world.notifications}/1/1"
    assert {letter.source for letter in dead_letters} == {
        f"{world.notifications}/1/{offset}" for offset in range(3)
    }


async def test_a_letter_with_too_large_a_key_is_kept_by_its_hashes(world: World) -> None:
    _make_topic(world, {"max.message.bytes": "50000"})
    user, key = world.names.user(), os.urandom(100_000)
    async with world.consumer():
        world.produce(world.notifications, b"{}", key, partition=1)
        world.publisher.send(world.notification(user), partition=1)
        world.publisher.flush()
        await world.logged(user, 1)
        (letter,) = await world.dead_letters(1)
    assert letter.key is None
    assert letter.value is not None
    assert json.loads(letter.value)["key_sha256"] == hashlib.sha256(key).hexdigest()
    assert letter.source == f"{world.notifications}/1/0"


def _make_topic(world: World, config: dict[str, str]) -> None:
    admin = AdminClient({"bootstrap.servers": world.kafka.bootstrap})
    for made in admin.create_topics([NewTopic(world.dead, 1, 1, config=config)]).values():
        made.result(timeout=30)


async def test_headers_whose_names_are_no_text_stop_nothing(world: World) -> None:
    user = world.names.user()
    values = [world.notification(user, f"note-{number}").value for number in range(6)]
    async with world.consumer():
        await produce_batch(world.kafka.bootstrap, world.notifications, values, bad=2)
        world.publisher.send(world.notification(user, "note-6"), partition=0)
        world.publisher.flush()
        notifications = await world.logged(user, 7)
        assert [each["event"] for each in notifications] == [f"note-{number}" for number in range(7)]

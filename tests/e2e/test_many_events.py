"""10,000 events for 200 users, repeated, late and orphaned, checked offline: promised against written."""

import asyncio
import json
import random
from collections import defaultdict
from collections.abc import Iterator

import redis

from doorstep.actors.placement.slots import slot_of
from doorstep.actors.store.redis.keyspace import Keyspace
from tests.e2e.conftest import ServiceFactory
from tests.support.browser import Browser
from tests.support.dead_letters import read_dead_letters
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.records import SLOT_TOPIC, Wire, batch_registered, slot_assigned
from tests.support.servers import KafkaServer, ValkeyServer

USERS = 200
BATCHES = 400
EVENTS = 10_000
LATE = range(350, 380)
NEVER = range(380, 400)


def records(names: Names, randomness: random.Random) -> Iterator[Wire]:
    """Events of 25 essays a batch in random order; some twice: the same bytes, or the same id elsewhere, or a
    new id for the same business key."""
    essays = [(batch, essay) for batch in range(BATCHES) for essay in range(EVENTS // BATCHES)]
    randomness.shuffle(essays)
    for batch, essay in essays:
        wire = slot_assigned(names.batch(batch), f"essay-{batch}-{essay}")
        yield wire
        chance = randomness.random()
        if chance < 0.05:
            yield wire
        elif chance < 0.10:
            yield Wire(wire.topic, b"another key", wire.value)
        elif chance < 0.15:
            yield slot_assigned(
                names.batch(batch), f"essay-{batch}-{essay}", event_id=f"retry-{batch}-{essay}"
            )


async def test_each_log_and_each_client_has_exactly_what_was_promised(
    serve: ServiceFactory, broker: KafkaServer, store: ValkeyServer, publisher: Publisher, names: Names
) -> None:
    dead_letter_topic = names.topic("dead")
    service = await asyncio.to_thread(
        serve,
        DOORSTEP_HOLDERS="3",
        DOORSTEP_CONSUMERS="2",
        DOORSTEP_CONTEXT__PARK_TTL_S="20",
        DOORSTEP_CONTEXT__SWEEP_INTERVAL_S="1",
        DOORSTEP_KAFKA__DEAD_LETTER_TOPIC=dead_letter_topic,
    )
    owner = {batch: names.user(batch % USERS) for batch in range(BATCHES)}
    browsers = [Browser(service.address, names.user(number)) for number in range(USERS)]
    second_devices = [Browser(service.address, names.user(number)) for number in range(0, USERS, 10)]
    for browser in [*browsers, *second_devices]:
        browser.open()
    for browser in [*browsers, *second_devices]:
        await browser.welcomed()

    known = [batch for batch in range(BATCHES) if batch not in LATE and batch not in NEVER]
    publisher.send_all(batch_registered(names.batch(batch), owner[batch]) for batch in known)
    publisher.send_all(records(names, random.Random(7)))
    publisher.send_all(batch_registered(names.batch(batch), owner[batch]) for batch in LATE)
    publisher.send_all(batch_registered(names.batch(batch), owner[batch]) for batch in LATE)

    expected: dict[str, set[str]] = defaultdict(set)
    orphans: list[str] = []
    for wire in publisher.acknowledged:
        if wire.topic == SLOT_TOPIC:
            data = json.loads(wire.value)["data"]
            batch = int(data["batch_id"].rpartition("-")[2])
            if batch in NEVER:
                orphans.append(data["essay_id"])  # as often as it was sent
            else:
                expected[owner[batch]].add(data["essay_id"])
    assert publisher.failed == []

    for browser in [*browsers, *second_devices]:
        await browser.wait_for(len(expected[browser.user_id]))
    letters = await asyncio.to_thread(read_dead_letters, broker.bootstrap, dead_letter_topic, len(orphans))
    for browser in [*browsers, *second_devices]:
        await browser.close()

    for browser in browsers:
        got = [n["data"]["essay_id"] for n in browser.journal.notifications]
        assert sorted(got) == sorted(expected[browser.user_id])
        assert browser.journal.seqs == list(range(1, len(got) + 1))
        assert browser.journal.resets == []
        assert browser.journal.notifications == _log_of(store, browser.user_id)
    of_user = {browser.user_id: browser for browser in browsers}
    for device in second_devices:
        assert device.journal.notifications == of_user[device.user_id].journal.notifications
    assert {letter.reason for letter in letters} == {"context_timeout"}
    given_up = [json.loads(letter.value or b"")["data"]["essay_id"] for letter in letters]
    assert sorted(given_up) == sorted(orphans)


def _log_of(store: ValkeyServer, user_id: str) -> list[object]:
    key, _, _ = Keyspace("doorstep").user(slot_of(user_id), user_id)
    with redis.Redis.from_url(store.url) as client:
        entries = client.xrange(key)
    log: list[object] = []
    for number, fields in entries:
        seq = int(number.split(b"-")[0])
        log.append({"seq": seq, "cursor": f"{seq}-{fields[b'd'][16:].decode()}", **json.loads(fields[b"n"])})
    return log

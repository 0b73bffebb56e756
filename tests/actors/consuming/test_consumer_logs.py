"""An event can be followed through the log by its correlation id: on a real Kafka and a real Valkey."""

import json
from collections.abc import MutableMapping
from typing import Any

from structlog.testing import capture_logs

from tests.actors.consuming.consumer_world import World
from tests.support.records import Wire

Line = MutableMapping[str, Any]


def _id_of(wire: Wire) -> str:
    return str(json.loads(wire.value)["correlation_id"])


def _told(lines: list[Line], wire: Wire) -> list[str]:
    """The lines with the record's correlation id, and that they say where it stands."""
    told = [line for line in lines if line.get("correlation_id") == _id_of(wire)]
    assert all(line["source"].startswith(f"{wire.topic}/") for line in told)
    return [line["event"] for line in told]


async def test_every_line_about_one_record_has_its_correlation_id(world: World) -> None:
    user, late, never, full = world.names.user(), *(world.names.batch(name) for name in ("a", "b", "c"))
    parked, registered = world.slot(late, "essay-1"), world.registration(late, user)
    expired, first, refused = world.slot(never, "essay-2"), world.slot(full, "3"), world.slot(full, "4")
    contradiction = world.registration(late, world.names.user("another"))
    garbled = world.notification(user)
    garbled = garbled._replace(value=garbled.value.replace(b'"teacher_id"', b'"nobody"'))
    limits = {"park_ttl_s": 6, "sweep_interval_s": 0.2, "max_parked_per_batch": 1}
    with capture_logs() as lines:
        async with world.consumer(context=limits):
            world.publisher.send_all(each._replace(key=b"one") for each in (parked, expired, first, refused))
            world.publisher.send_all([garbled])
            await world.until(lambda: _told(lines, parked), "the first is parked")
            world.publisher.send_all([registered])  # well before it expires
            await world.logged(user, 1)
            world.publisher.send_all([contradiction])
            await world.dead_letters(5)
    assert _told(lines, parked) == ["parked", "released"]
    assert _told(lines, registered) == ["registered"]
    assert _told(lines, expired) == _told(lines, first) == ["parked", "dead_lettered"]
    assert _told(lines, refused) == _told(lines, garbled) == _told(lines, contradiction) == ["dead_lettered"]
    reasons = {line["reason"] for line in lines if line["event"] == "dead_lettered"}
    assert reasons == {"context_timeout", "park_full", "invalid_contract", "context_conflict"}
    assert [line for line in lines if "source" in line and "correlation_id" not in line] == []

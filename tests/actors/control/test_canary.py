"""What the canary sends. That it comes, and is missed, is in tests/e2e/test_admin.py."""

from doorstep.actors.consuming.decode import Event, decode
from doorstep.actors.control.canary import record_of, user_of
from doorstep.actors.placement.cell import HERE
from doorstep.config.routes import load_routes
from doorstep.config.settings import CanarySettings, Settings
from tests.support.records import Wire, consumed


def test_its_record_is_a_notification_by_the_shipped_routes() -> None:
    canary = CanarySettings()
    value = record_of(canary.topic, canary.user_id, "the-id")
    record = consumed(Wire(canary.topic, canary.user_id.encode(), value))
    event = decode(record, load_routes(Settings.model_fields["routes"].default), 1 << 20)
    assert isinstance(event, Event)
    assert (event.user_id, event.event_name) == (canary.user_id, "canary")
    assert b'"id":"the-id"' in event.payload


def test_each_node_of_a_cluster_has_a_canary_of_its_own() -> None:
    users = [user_of("doorstep-canary", node) for node in ("3fa2c901", "77b0e1d4", HERE)]
    assert users == ["doorstep-canary.3fa2c901", "doorstep-canary.77b0e1d4", "doorstep-canary"]

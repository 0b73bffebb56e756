"""Traces: what becomes of a record's `traceparent` on its way to a socket; and what is off costs nothing."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr
from websockets.asyncio.client import ClientConnection
from websockets.asyncio.client import connect as connect_socket
from websockets.typing import Subprotocol

from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.holding.holder import Holder
from doorstep.actors.placement.cell import HERE, Cell
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.runtime.open_telemetry import OpenTelemetry
from doorstep.actors.runtime.tracing import fault_of
from doorstep.config.settings import AuthSettings, GatewaySettings, Settings
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.port import PublicPort
from tests.actors.consuming.consumer_world import World
from tests.support.otlp import Collector, Spanned
from tests.support.service import SECRET, token_for
from tests.support.waiting import PATIENCE_S

SAMPLED, UNSAMPLED = "ab" * 16, "cd" * 16
PARENT = "12" * 8


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """A collector that actors made from now on send their spans to, soon."""
    collector = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "50")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=tests")
    yield collector
    collector.close()


async def test_a_record_and_the_page_that_shows_it_are_one_trace(
    world: World, collector: Collector, run_dir: Path
) -> None:
    user = world.names.user()
    async with AsyncExitStack() as running:
        connect = await _start(running, world, run_dir)
        page = await connect(user, "")
        for kind, trace_id, flags in (("a", UNSAMPLED, "00"), ("b", SAMPLED, "01")):
            wire = world.notification(user, kind)
            header = f"00-{trace_id}-{PARENT}-{flags}".encode()
            await asyncio.to_thread(world.produce, wire.topic, wire.value, headers=[("traceparent", header)])
        await asyncio.to_thread(world.publisher.send_all, [world.notification(user, "c")])
        got = [await _message(page) for _ in "abc"]
        await page.send(json.dumps({"op": "ack", "cursor": got[-1]["cursor"]}))
        await world.until(lambda: len(collector.of(SAMPLED)) == 4, "all spans have come")
        late_page = await connect(user, "?replay=3")
        assert len([await _message(late_page) for _ in "abc"]) == 3
        await world.until(lambda: len(collector.of(SAMPLED)) == 5, "the span of a later page has come")
    assert {each.trace_id for each in collector.spans} == {SAMPLED}
    consume, append, push, shown, late = collector.of(SAMPLED)
    assert _chain([consume, append, push, shown]) == ["consume", "append", "push", "shown"]
    (traceparent,) = [each["traceparent"] for each in got if each["event"] == "b"]
    assert traceparent == f"00-{SAMPLED}-{append.span_id}-01"
    assert (late.name, late.parent_id) == ("push", append.span_id)
    assert consume.attributes["messaging.destination.name"] == world.notifications
    assert consume.attributes["doorstep.event"] == "b"
    assert push.resource.items() >= {
        ("service.name", "doorstep"),
        ("service.instance.id", "holder-0"),
        ("deployment.environment.name", "tests"),
    }


async def _start(running: AsyncExitStack, world: World, run_dir: Path) -> Any:
    """A consumer, and a holder behind a port, with traces; returns how to connect to it."""
    settings = world.settings().model_copy(
        update={
            "traces": True,
            "auth": AuthSettings(hs256_secret=SecretStr(SECRET)),
            "gateway": GatewaySettings(port=0),
        }
    )
    run = RunDirectory(run_dir)
    consumer = Consumer("consumer-0", settings, "consumer-0")
    running.push_async_callback(consumer.stop)
    holder = Holder("holder-0", settings, Cell.of(HERE, 1), run)
    running.push_async_callback(holder.stop)
    authenticator = Authenticator(settings.auth)
    public = PublicPort(settings.gateway, authenticator, lambda _: [run.socket_of("holder-0")], {})
    running.push_async_callback(public.stop)
    port = await public.start()

    async def connect(user: str, query: str) -> ClientConnection:
        url = f"ws://127.0.0.1:{port}/v1/ws{query}"
        headers = {"Authorization": f"Bearer {token_for(user)}"}
        ws = await running.enter_async_context(
            connect_socket(url, additional_headers=headers, subprotocols=[Subprotocol("doorstep.v1")])
        )
        assert (await _message(ws))["event"] == "doorstep.welcome"
        return ws

    return connect


async def _message(ws: ClientConnection) -> Any:
    async with asyncio.timeout(PATIENCE_S):
        return json.loads(await ws.recv())


def _chain(spans: Sequence[Spanned]) -> list[str]:
    """Their names; each is below the one before, the first below the producer's, and none ends early."""
    parent = PARENT
    for span in spans:
        assert span.parent_id == parent
        assert span.began_ns <= span.ended_ns
        parent = span.span_id
    return [each.name for each in spans]


_TEXT = st.text(st.characters(codec="utf-8"), max_size=20)


@given(data=st.dictionaries(_TEXT, _TEXT), flags=st.sampled_from(["00", "01", "03"]))
def test_only_the_traceparent_of_a_notification_changes(data: dict[str, str], flags: str) -> None:
    before = {"event": "e", "data": data, "traceparent": f"00-{SAMPLED}-{PARENT}-{flags}"}
    span = _tracer().begin("push", _payload(before), {})
    assert (span is not None) == (flags != "00")
    if span is not None:
        after = json.loads(span.payload)
        assert after.pop("traceparent")[:36] == f"00-{SAMPLED}-"
        assert after == {"event": "e", "data": data}


def test_a_trace_begins_at_the_consumer_and_only_where_the_sampler_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    bare = _payload({"event": "e", "data": {"traceparent": f"00-{SAMPLED}-{PARENT}-01"}})
    assert _tracer().begin("consume", bare, {}, first=True) is None
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "1.0")
    begun = _tracer().begin("consume", bare, {}, first=True)
    assert begun is not None
    assert json.loads(begun.payload)["traceparent"].startswith("00-")
    assert _tracer().begin("push", bare, {}) is None


def _tracer() -> OpenTelemetry:
    return OpenTelemetry("actor-0")


def _payload(fields: dict[str, Any]) -> bytes:
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()


async def test_a_collector_that_is_away_holds_up_no_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    tracer = _tracer()
    span = tracer.begin("push", _payload({"e": 1, "traceparent": f"00-{SAMPLED}-{PARENT}-01"}), {})
    assert span is not None
    span.end()
    began = time.monotonic()
    await tracer.stop()
    assert time.monotonic() - began < 3


def test_what_is_off_is_not_imported() -> None:
    modules = "doorstep.actors.consuming.consumer, doorstep.actors.holding.holder"
    code = f"import sys, {modules}; print([name for name in sys.modules if name.startswith('opentelemetry')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_without_the_extra_traces_are_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "doorstep.actors.runtime.open_telemetry")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    assert fault_of(Settings()) is None
    assert "pip install 'doorstep[traces]'" in str(fault_of(Settings(traces=True)))

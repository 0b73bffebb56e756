"""Spans by OpenTelemetry's SDK, sent by OTLP over HTTP. All is set by its own `OTEL_…` variables."""

import asyncio
import os
import re
import threading

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import DEFAULT_OFF
from opentelemetry.trace import (
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    TraceFlags,
    set_span_in_context,
)

from doorstep.actors.runtime.tracing import Attributes
from doorstep.config.version import VERSION

_LAST_WORDS_S = 1.0
_LONGEST_PARENT = 300
_KINDS = {"consume": SpanKind.CONSUMER, "append": SpanKind.CLIENT, "push": SpanKind.PRODUCER}
_PARENT = re.compile(
    rb'"traceparent":"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-[^"\\]*)?"}\Z'
)
"""The last field of a notification, if it has one; nothing in its data can end like this."""


class OpenTelemetry:
    """The spans of one actor."""

    def __init__(self, actor: str) -> None:
        """Begin to send off in the background, to what `OTEL_EXPORTER_OTLP_ENDPOINT` names.

        Traces that begin here are sampled only where `OTEL_TRACES_SAMPLER` says so.
        """
        ours = {"service.name": "doorstep", "service.version": VERSION, "service.instance.id": actor}
        self._provider = TracerProvider(
            sampler=None if "OTEL_TRACES_SAMPLER" in os.environ else DEFAULT_OFF,
            resource=Resource.create().merge(Resource(ours)).merge(OTELResourceDetector().detect()),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("doorstep", VERSION)

    def begin(
        self,
        name: str,
        payload: bytes,
        attributes: Attributes,
        at_ns: int | None = None,
        *,
        first: bool = False,
    ) -> "_Begun | None":
        """See `Tracer`."""
        found = _PARENT.search(payload, max(len(payload) - _LONGEST_PARENT, 0))
        context, bare = Context(), payload[:-1]
        if found is not None:
            flags = TraceFlags(int(found[3], 16))
            parent = SpanContext(int(found[1], 16), int(found[2], 16), is_remote=True, trace_flags=flags)
            context, bare = set_span_in_context(NonRecordingSpan(parent)), payload[: found.start() - 1]
            first = flags.sampled
        if not first:
            return None
        kind = _KINDS.get(name, SpanKind.INTERNAL)
        span = self._tracer.start_span(name, context, kind, attributes, start_time=at_ns)
        return _Begun(span, bare) if span.is_recording() else None

    async def stop(self) -> None:
        """See `Tracer`. A collector that is away must hold up neither the stop nor the end of the process."""
        thread = threading.Thread(target=self._provider.shutdown, daemon=True)
        thread.start()
        await asyncio.to_thread(thread.join, _LAST_WORDS_S)


class _Begun:
    """A span, and the notification that names it."""

    __slots__ = ("_span", "payload")

    def __init__(self, span: Span, bare: bytes) -> None:
        """`bare` is the notification without its `traceparent` and its closing brace."""
        self._span = span
        context = span.get_span_context()
        traceparent = f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"
        self.payload = b'%b,"traceparent":"%b"}' % (bare, traceparent.encode())

    def end(self) -> None:
        """The step is done."""
        self._span.end()

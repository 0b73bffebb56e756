"""A collector of traces that takes OTLP over HTTP, in a thread."""

import threading
from collections.abc import Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest


class Spanned(NamedTuple):
    """A span as it came, ids in hexadecimal; the parent of the first one of a trace is empty."""

    name: str
    trace_id: str
    span_id: str
    parent_id: str
    began_ns: int
    ended_ns: int
    attributes: Mapping[str, str]
    resource: Mapping[str, str]


class Collector:
    """Keeps the spans that it gets."""

    def __init__(self) -> None:
        self.spans: list[Spanned] = []
        spans = self.spans

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                spans.extend(_spans_in(ExportTraceServiceRequest.FromString(body)))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self._thread.start()

    def of(self, trace_id: str) -> list[Spanned]:
        """The spans of a trace, in the order in which they began."""
        return sorted(
            (each for each in self.spans if each.trace_id == trace_id), key=lambda each: each.began_ns
        )

    def close(self) -> None:
        """Take no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _spans_in(request: ExportTraceServiceRequest) -> list[Spanned]:
    return [
        Spanned(
            span.name,
            span.trace_id.hex(),
            span.span_id.hex(),
            span.parent_span_id.hex(),
            span.start_time_unix_nano,
            span.end_time_unix_nano,
            {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes},
            {each.key: each.value.string_value for each in of_actor.resource.attributes},
        )
        for of_actor in request.resource_spans
        for scope in of_actor.scope_spans
        for span in scope.spans
    ]

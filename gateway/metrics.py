"""What the public port counts, for Prometheus. Labels have values of this code, never of a client."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric

from doorstep.gateway.head import HeadError
from doorstep.gateway.problem import RefusedError

ROUND_TRIP_S = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The upper bounds of the buckets of a histogram: how long somebody near took to answer, in seconds."""


class GatewayMetrics:
    """What a gateway counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.refusals = Counter(
            "doorstep_gateway_refusals",
            "Requests refused by the gateway, by the code in their problem document.",
            ["code"],
            registry=self._registry,
        )
        self._handshakes = Counter(
            "doorstep_gateway_handshakes",
            "Requests for sockets and polls: handed_over to a holder, or why not.",
            ["kind", "result"],
            registry=self._registry,
        )
        self.handover_seconds = Histogram(
            "doorstep_gateway_handover_seconds",
            "Time from the first try to hand a connection over until a holder said that it has it.",
            buckets=ROUND_TRIP_S,
            registry=self._registry,
        )

    @contextmanager
    def handshake(self, kind: Literal["socket", "poll"]) -> Iterator[None]:
        """Count one, whose body hands it over or raises why not."""
        try:
            yield
        except RefusedError as refused:
            self._handshakes.labels(kind, refused.problem.code).inc()
            raise
        except HeadError as error:
            self._handshakes.labels(kind, error.code).inc()
            raise
        self._handshakes.labels(kind, "handed_over").inc()

    def collect(self) -> Sequence[Metric]:
        """All of it."""
        return list(self._registry.collect())

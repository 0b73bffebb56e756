"""What the public port counts, for Prometheus. Labels have values of this code, never of a client."""

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Metric


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

    def collect(self) -> Sequence[Metric]:
        """All of it."""
        return list(self._registry.collect())

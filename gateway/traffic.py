"""What goes over the connections that browsers have with a holder: their bytes, and how their sockets end."""

from collections import Counter
from collections.abc import Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily

from doorstep.gateway.close_codes import CloseCode

_KNOWN = frozenset(CloseCode)


class Traffic:
    """Counts for all connections of a process. Plain numbers: they grow with every frame that is sent."""

    __slots__ = ("_closes", "received", "sent")

    def __init__(self) -> None:
        self.sent = 0
        """Bytes; to be added to by whoever writes."""
        self.received = 0
        """Bytes; to be added to by whoever reads."""
        self._closes: Counter[int] = Counter()

    def close(self, code: int) -> None:
        """A WebSocket begins to close; `code` is the first that either side said, else 1005 or 1006."""
        self._closes[code] += 1

    def collect(self) -> Sequence[Metric]:
        """All of it, for Prometheus. A code that only the client knows is `other`."""
        closes = CounterMetricFamily(
            "doorstep_closes",
            "WebSockets that were closed, by the code that was said first.",
            labels=["code"],
        )
        others = 0
        for code, count in self._closes.items():
            if code in _KNOWN:
                closes.add_metric([str(int(code))], count)
            else:
                others += count
        if others:
            closes.add_metric(["other"], others)
        return (
            closes,
            CounterMetricFamily("doorstep_sent_bytes", "Bytes sent to browsers by holders.", self.sent),
            CounterMetricFamily(
                "doorstep_received_bytes", "Bytes that browsers sent to holders.", self.received
            ),
        )

"""What a holder counts, for Prometheus. No label ever has a value per user."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from doorstep.actors.runtime.redis_metrics import redis_round_trips

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
"""The upper bounds of a histogram's buckets."""


class HolderMetrics:
    """What a holder counts."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self.connections = Gauge("doorstep_connections", "Sockets and long polls.", registry=self._registry)
        self.users = Gauge("doorstep_users_connected", "Users with a connection.", registry=self._registry)
        self.pushes = Counter(
            "doorstep_pushes", "Notifications that came over the feed.", registry=self._registry
        )
        self.reads = Counter(
            "doorstep_log_reads", "Pages read from logs to catch up.", registry=self._registry
        )
        self.resets = Counter(
            "doorstep_resets", "Clients told to start over, by reason.", ["reason"], registry=self._registry
        )
        self.refusals = Counter(
            "doorstep_refusals",
            "Connections refused by the holder, by code.",
            ["code"],
            registry=self._registry,
        )
        self.replaced = Counter(
            "doorstep_replaced_sockets",
            "Silent sockets that gave way to a new one of their user.",
            registry=self._registry,
        )
        self.refreshes = Counter(
            "doorstep_token_refreshes",
            "Newer tokens that sockets sent, by what came of them.",
            ["result"],
            registry=self._registry,
        )
        self.feed_losses = Counter(
            "doorstep_feed_losses", "Times the feed was lost.", registry=self._registry
        )
        self.audit_repairs = Counter(
            "doorstep_audit_repairs",
            "Pushes that never came and were found by the audit: a fault, whenever it is not 0.",
            registry=self._registry,
        )
        self.delivered = Counter(
            "doorstep_delivered",
            "Notifications written to sockets, by event.",
            ["event"],
            registry=self._registry,
        )
        self.delivery_seconds = Histogram(
            "doorstep_delivery_seconds",
            "From an event's timestamp to the write of its push to sockets. A sample.",
            ["event"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.shown = Counter(
            "doorstep_shown",
            "Notifications that clients have acknowledged as shown, by event.",
            ["event"],
            registry=self._registry,
        )
        self.shown_seconds = Histogram(
            "doorstep_shown_seconds",
            "From an event's timestamp to its acknowledgement by a client that has shown it. A sample.",
            ["event"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self.receipts_dropped = Counter(
            "doorstep_receipts_dropped",
            "Receipts that Kafka did not take, where they have a topic.",
            registry=self._registry,
        )
        self.waiting = Gauge(
            "doorstep_waiting_for_lost_writes",
            "Subscribers that wait until consumers know Redis, and it has got back what it has lost.",
            registry=self._registry,
        )
        self.redis_seconds = redis_round_trips(self._registry)
        self.faults = Counter(
            "doorstep_faults",
            "Errors that were kept to one user, connection or message: a fault, whenever it is not 0.",
            ["where"],
            registry=self._registry,
        )

    def collect(self) -> list[Metric]:
        """All of it."""
        return list(self._registry.collect())

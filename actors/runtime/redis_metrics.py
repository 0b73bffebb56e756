"""What consumers and holders alike measure of Redis, for Prometheus."""

from prometheus_client import CollectorRegistry, Histogram

_SECONDS = (0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
"""The upper bounds of the buckets."""


def redis_round_trips(registry: CollectorRegistry) -> Histogram:
    """To be told how long each of a connection's writes took until all replies were there."""
    return Histogram(
        "doorstep_redis_round_trip_seconds",
        "Time from a write to Redis to the last of its replies.",
        buckets=_SECONDS,
        registry=registry,
    )

"""What consumers and holders alike measure of Redis, for Prometheus."""

from prometheus_client import CollectorRegistry, Histogram

from doorstep.gateway.metrics import ROUND_TRIP_S


def redis_round_trips(registry: CollectorRegistry) -> Histogram:
    """To be told how long each of a connection's writes took until all replies were there."""
    return Histogram(
        "doorstep_redis_round_trip_seconds",
        "Time from a write to Redis to the last of its replies.",
        buckets=ROUND_TRIP_S,
        registry=registry,
    )

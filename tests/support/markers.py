"""Markers that follow from fixtures: what a test needs is what it runs on. Pure.

`-m kafka` runs what needs Kafka, and so Java; `make test-fast` leaves out what needs more than Python.
"""

from collections.abc import Collection, Mapping

BY_FIXTURE: Mapping[str, frozenset[str]] = {
    "kafka": frozenset({"kafka", "kafka_factory", "secure_kafka", "guarded", "_broker", "broker", "site"}),
    "valkey": frozenset(
        {
            "_shared_valkey",
            "valkey_factory",
            "valkey_cluster",
            "valkey_of_demo",
            "cluster",
            "watched",
            "store",
            "site",
        }
    ),
    "ray": frozenset({"launch", "command", "demo", "run_shipped", "site"}),
    "browser": frozenset({"browser", "built", "chromium"}),
    "containers": frozenset({"deployment"}),
}
"""Marker -> the fixtures that start it. A fixture that uses one of them needs no entry of its own."""

STARTERS: Mapping[str, frozenset[str]] = {
    "kafka": frozenset({"new_kafka", "secure_kafka", "guarded_kafka", "kafka_process"}),
    "valkey": frozenset({"new_valkey", "ValkeyProcess", "ValkeyCluster"}),
    "ray": frozenset({"Service", "DemoCommand"}),
    "browser": frozenset({"chromium", "find_chromium"}),
    "containers": frozenset({"Deployment"}),
}
"""Marker -> what starts it, when a fixture calls it."""


def markers_for(fixtures: Collection[str]) -> set[str]:
    """The markers of a test that uses these fixtures, itself or through others."""
    return {marker for marker, starting in BY_FIXTURE.items() if not starting.isdisjoint(fixtures)}

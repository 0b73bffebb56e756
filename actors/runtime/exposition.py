"""One page of metrics for Prometheus from the metrics of many actors. Pure."""

from collections.abc import Mapping, Sequence

from prometheus_client import Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector


class _Told(Collector):
    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Sequence[Metric]:
        return self._families


def merge(told: Mapping[str, Sequence[Metric]]) -> list[Metric]:
    """One family per name, in which every sample says in the label `actor` who told it."""
    merged: dict[str, Metric] = {}
    for actor, families in told.items():
        for family in families:
            target = merged.setdefault(
                family.name, Metric(family.name, family.documentation, family.type, family.unit)
            )
            for sample in family.samples:
                if sample.name.endswith("_created"):  # Prometheus makes nothing of it
                    continue
                target.samples.append(sample._replace(labels={**sample.labels, "actor": actor}))
    return list(merged.values())


def exposition(families: Sequence[Metric]) -> bytes:
    """The page in Prometheus' text format, version 0.0.4."""
    return generate_latest(_Told(families))

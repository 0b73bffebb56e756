"""The metrics of all actors on one page, which says of an actor that is away what it said last."""

from collections.abc import Mapping, Sequence

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

from doorstep.actors.control.fleet_status import Answers
from doorstep.actors.control.report import Report, Unreachable
from doorstep.actors.runtime.exposition import exposition, merge

Said = Mapping[str, Sequence[Metric] | Unreachable]
"""By name, the metrics of an actor."""


class FleetMetrics:
    """Keeps what each actor said last: its lag matters most when it is away."""

    def __init__(self) -> None:
        self._last: dict[str, Sequence[Metric]] = {}
        self._restarts: dict[str, int] = {}

    def page(self, answers: Answers, said: Said) -> bytes:
        """The page in Prometheus' text format, of those who were asked."""
        for gone in self._last.keys() - answers.keys():
            self._last.pop(gone)
        for gone in self._restarts.keys() - answers.keys():
            self._restarts.pop(gone)
        for name, metrics in said.items():
            if not isinstance(metrics, Unreachable):
                self._last[name] = metrics
        for name, answer in answers.items():
            if isinstance(answer, Report):
                self._restarts[name] = answer.restarts
        return exposition([*merge(self._last), _up(answers), self._restarted()])

    def _restarted(self) -> Metric:
        family = CounterMetricFamily(
            "doorstep_actor_restarts", "How often the actor's process was started again.", labels=["actor"]
        )
        for name, restarts in self._restarts.items():
            family.add_metric([name], restarts)
        return family


def _up(answers: Answers) -> Metric:
    family = GaugeMetricFamily(
        "doorstep_actor_up", "1 if the actor answers; else what it said last is shown.", labels=["actor"]
    )
    for name, answer in answers.items():
        family.add_metric([name], isinstance(answer, Report))
    return family

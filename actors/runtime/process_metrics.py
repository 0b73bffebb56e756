"""What is to be known of any process of ours: its time, memory and descriptors, and its event loop."""

import asyncio
import platform
from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Gauge, Histogram, Metric, ProcessCollector
from prometheus_client.core import CounterMetricFamily

from doorstep.actors.runtime.main_task import MainTask

_PAUSE_S = 0.5
_SECONDS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class ProcessMetrics:
    """What a process counts of itself."""

    def __init__(self, version: str, lines_dropped: Callable[[], int]) -> None:
        """Measure from now on; call within a running event loop."""
        self._registry = CollectorRegistry()
        self._lines_dropped = lines_dropped
        ProcessCollector(namespace="doorstep", registry=self._registry)
        Gauge(
            "doorstep_build_info", "1, with what it is.", ["version", "python"], registry=self._registry
        ).labels(version, platform.python_version()).set(1)
        self._lag = Histogram(
            "doorstep_loop_lag_seconds",
            "How much later than asked the event loop goes on, looked at twice a second.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        loop = asyncio.get_running_loop()
        Gauge("doorstep_loop_tasks", "Tasks of the event loop.", registry=self._registry).set_function(
            lambda: len(asyncio.all_tasks(loop))
        )
        self._measuring = MainTask(self._measure())

    def collect(self) -> Sequence[Metric]:
        """All of it."""
        dropped = CounterMetricFamily(
            "doorstep_log_lines_dropped", "Lines of the log that `serve` did not take.", self._lines_dropped()
        )
        return [*self._registry.collect(), dropped]

    async def _measure(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            asked = loop.time() + _PAUSE_S
            await asyncio.sleep(_PAUSE_S)
            self._lag.observe(max(loop.time() - asked, 0))

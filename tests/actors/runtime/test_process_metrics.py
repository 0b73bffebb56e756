"""What every actor says of its process."""

import asyncio
import time

import pytest

from doorstep.actors.runtime import process_metrics
from doorstep.actors.runtime.process_metrics import ProcessMetrics
from tests.support.waiting import a_while, until


async def test_a_loop_that_stands_still_and_lines_that_are_lost_are_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(process_metrics, "_PAUSE_S", 0.02)
    metrics = ProcessMetrics("1.2", lambda: 3)
    await asyncio.sleep(0)  # it has begun to measure
    time.sleep(0.3)  # noqa: ASYNC251 - as a long parse would
    await a_while(0.05)
    samples = {(each.name, each.labels.get("le")): each for one in metrics.collect() for each in one.samples}
    slow = samples["doorstep_loop_lag_seconds_bucket", "+Inf"].value
    assert slow - samples["doorstep_loop_lag_seconds_bucket", "0.25"].value >= 1
    assert samples["doorstep_build_info", None].labels["version"] == "1.2"
    assert samples["doorstep_log_lines_dropped_total", None].value == 3


async def test_who_can_not_measure_any_more_does_not_live_on(
    monkeypatch: pytest.MonkeyPatch, deaths: list[str]
) -> None:
    monkeypatch.setattr(process_metrics, "_PAUSE_S", "no number")
    ProcessMetrics("1.2", lambda: 3)
    await until(lambda: deaths)
    deaths.clear()

"""What a gateway tells of the others."""

from dataclasses import dataclass

from doorstep.actors.control.actor_calls import Unreachable
from doorstep.actors.control.gateway_actor import readiness_of
from doorstep.actors.holding.holder import HolderStatus
from doorstep.actors.holding.metrics import HolderMetrics
from doorstep.actors.runtime.breaker import Breaker, BreakerStatus
from doorstep.actors.runtime.exposition import exposition, merge


@dataclass(frozen=True)
class AnyConsumer:
    """As much of a consumer's status as readiness needs."""

    name: str
    state: str
    breakers: tuple[BreakerStatus, ...] = ()


def holder(state: str = "serving") -> HolderStatus:
    return HolderStatus("holder-0", state, 0, 0, 256, (Breaker("redis").status,))


def test_ready_when_everybody_serves() -> None:
    readiness = readiness_of([holder(), AnyConsumer("consumer-0", "running")])
    assert readiness.ready
    assert readiness.reasons == {}


def test_an_open_breaker_is_named_with_its_time() -> None:
    breaker = Breaker("redis")
    breaker.failure(ConnectionError("refused"), "append")
    readiness = readiness_of([holder(), AnyConsumer("consumer-0", "running", (breaker.status,))])
    assert not readiness.ready
    reason = readiness.reasons["redis"]
    assert isinstance(reason, dict)
    assert reason["state"] == "open"
    assert "refused" in reason["reason"]
    assert reason["since"].endswith("+00:00")


def test_who_does_not_answer_or_is_not_there_yet_is_named() -> None:
    readiness = readiness_of([holder("starting"), Unreachable("consumer-0", "no answer within 1 s")])
    assert not readiness.ready
    assert readiness.reasons == {
        "holder-0": {"state": "starting"},
        "consumer-0": {"state": "unreachable", "reason": "no answer within 1 s"},
    }


def test_metrics_of_many_actors_are_one_page() -> None:
    one, two = HolderMetrics(), HolderMetrics()
    one.pushes.inc(3)
    two.pushes.inc(4)
    page = exposition(merge({"holder-0": one.collect(), "holder-1": two.collect()})).decode()
    assert 'doorstep_pushes_total{actor="holder-0"} 3.0' in page
    assert 'doorstep_pushes_total{actor="holder-1"} 4.0' in page
    assert page.count("# TYPE doorstep_pushes_total") == 1

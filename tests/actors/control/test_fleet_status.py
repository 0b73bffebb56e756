"""What is said of all actors together."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import orjson

from doorstep.actors.consuming.faults import KafkaFault
from doorstep.actors.control.fleet_metrics import FleetMetrics
from doorstep.actors.control.fleet_status import (
    Newcomers,
    Since,
    can_take_sockets,
    fleet_status,
    is_cut_off,
    troubles_of,
)
from doorstep.actors.control.report import Report, Unreachable
from doorstep.actors.holding.metrics import HolderMetrics
from doorstep.actors.kafka.errors import ABSENT
from doorstep.actors.placement.spec import Spec
from doorstep.actors.runtime.breaker import Breaker, BreakerStatus

SPEC = Spec("here", 1, 1, "d", "1.0", draining={"aa": 7.0})
AWAY = Unreachable("consumer-0", "no answer within 1 s")


@dataclass(frozen=True)
class AnyStatus:
    """As much of a status as there is to all of them."""

    name: str
    state: str
    breakers: tuple[BreakerStatus, ...] = ()
    faults: Mapping[str, KafkaFault] = field(default_factory=dict)


def report(name: str, state: str = "serving", *breakers: BreakerStatus, digest: str = "d") -> Report:
    return Report(AnyStatus(name, state, breakers), "1.0", digest, "", 7, 5.0, 0.1, 2)


def opened(name: str, reason: str) -> BreakerStatus:
    breaker = Breaker(name)
    breaker.failure(ConnectionError(reason), "append")
    return breaker.status


def test_it_is_well_when_everybody_serves() -> None:
    answers = {"holder-0": report("holder-0"), "consumer-0": report("consumer-0", "running")}
    told = fleet_status(answers, {"holder-0": 1.0, "consumer-0": 2.0}, "d", SPEC, "aa")
    assert (told["ok"], told["troubles"], told["node"]) == (True, [], "aa")
    actors = orjson.loads(orjson.dumps(told))["actors"]
    assert told["spec"] == {
        **asdict(SPEC),
        "draining": {"aa": "1970-01-01T00:00:07.000+00:00"},
    }
    assert actors["holder-0"]["since"] == "1970-01-01T00:00:01.000+00:00"
    assert actors["holder-0"]["process"]["restarts"] == 2


def test_two_open_breakers_of_one_name_are_both_told() -> None:
    answers = {
        name: report(name, "serving", opened("redis", f"refused {name}")) for name in ("holder-0", "holder-1")
    }
    troubles = list(troubles_of(answers, {}, "d"))
    assert [(each.actor, each.what, each.state) for each in troubles] == [
        ("holder-0", "redis", "open"),
        ("holder-1", "redis", "open"),
    ]
    assert [str(each.reason).endswith(each.actor) for each in troubles] == [True, True]


def test_topics_that_are_held_up_are_told_but_not_those_that_are_still_to_come() -> None:
    faults = {"dead": KafkaFault(ABSENT, 1.0), "slots/4": KafkaFault("nobody leads it", 2.0)}
    status = AnyStatus("consumer-0", "running", faults=faults)
    answers = {"consumer-0": Report(status, "1.0", "d", "", 7, 5.0, 0.1, 2)}
    (trouble,) = troubles_of(answers, {}, "d")
    assert (trouble.what, trouble.state, trouble.reason) == ("slots/4", "faulty", "nobody leads it")
    told = orjson.loads(orjson.dumps(fleet_status(answers, {"consumer-0": 1.0}, "d", SPEC, "aa")))
    assert told["actors"]["consumer-0"]["faults"]["dead"]["since"] == "1970-01-01T00:00:01.000+00:00"


def test_who_is_away_not_ready_or_another_is_told() -> None:
    answers: dict[str, Report | Unreachable] = {
        "consumer-0": AWAY,
        "holder-0": report("holder-0", "starting"),
        "holder-1": report("holder-1", digest="e"),
    }
    troubles = {each.actor: each for each in troubles_of(answers, {"consumer-0": 1.0, "holder-0": 2.0}, "d")}
    assert {name: each.state for name, each in troubles.items()} == {
        "consumer-0": "unreachable",
        "holder-0": "starting",
        "holder-1": "differs",
    }
    assert (troubles["consumer-0"].since, troubles["consumer-0"].reason) == (1.0, AWAY.reason)


def test_sockets_need_their_holders_only() -> None:
    without_redis = report("holder-0", "serving", opened("redis", "refused"))
    assert can_take_sockets({"holder-0": without_redis}, lacks_ray=False)
    for away in (report("holder-0", "starting"), Unreachable("holder-0", "dead")):
        assert not can_take_sockets({"holder-0": away}, lacks_ray=False)


def test_who_has_yet_to_come_is_starting_and_who_has_come_is_missed() -> None:
    newcomers = Newcomers()
    answers: dict[str, Report | Unreachable] = {
        name: Unreachable(name, "what Ray says") for name in ("holder-0", "holder-1")
    }

    def troubles() -> dict[str, tuple[str, str | None]]:
        found = troubles_of(newcomers.see(answers), dict.fromkeys(answers, 1.0), "d")
        return {each.actor: (each.state, each.reason) for each in found}

    newcomers.want(["holder-0"])
    assert newcomers.names == frozenset()
    newcomers.want(["holder-0", "holder-1"])
    starting, away = ("starting", "it has yet to come"), ("unreachable", "what Ray says")
    assert troubles() == {"holder-0": away, "holder-1": starting}
    newcomers.see({"holder-1": report("holder-1", "starting")})
    newcomers.want(["holder-0", "holder-1"])
    assert newcomers.names == {"holder-1"}
    newcomers.see({"holder-1": report("holder-1")})
    assert newcomers.names == frozenset()
    assert troubles() == {"holder-0": away, "holder-1": away}


def test_who_is_wanted_once_more_has_yet_to_come_once_more() -> None:
    newcomers = Newcomers()
    newcomers.want(["holder-0", "holder-1"])
    newcomers.want(["holder-0"])
    newcomers.want(["holder-0", "holder-1"])
    assert newcomers.names == {"holder-1"}
    newcomers.want(["holder-0"])
    assert newcomers.names == frozenset()


def test_who_lacks_ray_and_redis_is_cut_off() -> None:
    without_redis = report("holder-1", "serving", opened("redis", "refused"))
    one_has_it = {"holder-0": report("holder-0"), "holder-1": without_redis}
    assert not is_cut_off(one_has_it, lacks_ray=True)
    assert can_take_sockets(one_has_it, lacks_ray=True)
    assert is_cut_off({"holder-1": without_redis}, lacks_ray=True)
    assert not can_take_sockets({"holder-1": without_redis}, lacks_ray=True)
    assert not is_cut_off({"holder-1": without_redis}, lacks_ray=False)


def test_it_is_known_since_when() -> None:
    since = Since()
    assert since.see({"a": report("a", "starting")}, 1.0) == {"a": 1.0}
    assert since.see({"a": report("a", "starting")}, 2.0) == {"a": 1.0}
    assert since.see({"a": AWAY}, 3.0) == {"a": 3.0}
    assert since.see({"a": AWAY}, 4.0) == {"a": 3.0}


def test_who_is_away_is_shown_with_what_it_said_last() -> None:
    fleet, counted = FleetMetrics(), HolderMetrics()
    counted.pushes.inc(3)
    fleet.page({"holder-0": report("holder-0")}, {"holder-0": counted.collect()})
    away = Unreachable("holder-0", "dead")
    page = fleet.page({"holder-0": away}, {"holder-0": away}).decode()
    assert 'doorstep_pushes_total{actor="holder-0"} 3.0' in page
    assert 'doorstep_actor_up{actor="holder-0"} 0.0' in page
    assert 'doorstep_actor_restarts_total{actor="holder-0"} 2.0' in page


def test_who_has_gone_to_another_node_is_told_there_only() -> None:
    fleet, counted = FleetMetrics(), HolderMetrics()
    fleet.page({"consumer-0": report("consumer-0")}, {"consumer-0": counted.collect()})
    assert b"consumer-0" not in fleet.page({"holder-0": report("holder-0")}, {"holder-0": counted.collect()})


def test_metrics_of_many_actors_are_one_page() -> None:
    one, two = HolderMetrics(), HolderMetrics()
    one.pushes.inc(3)
    two.pushes.inc(4)
    answers = {name: report(name) for name in ("holder-0", "holder-1")}
    page = FleetMetrics().page(answers, {"holder-0": one.collect(), "holder-1": two.collect()}).decode()
    assert 'doorstep_pushes_total{actor="holder-0"} 3.0' in page
    assert 'doorstep_pushes_total{actor="holder-1"} 4.0' in page
    assert page.count("# TYPE doorstep_pushes_total") == 1

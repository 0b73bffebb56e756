"""What a supervisor is to do."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.placement.cell import HERE, node_of
from doorstep.actors.placement.plan import Action, Forget, Known, Start, Stop, plan
from doorstep.actors.placement.spec import Spec

pytestmark = pytest.mark.patient

NODES = ("aa", "bb", "cc")
CLUSTERS = st.one_of(st.just({HERE}), st.sets(st.sampled_from(NODES), min_size=1))


def spec(holders: int, consumers: int) -> Spec:
    return Spec("here", holders, consumers, "digest", "1")


SPECS = st.builds(spec, holders=st.integers(1, 3), consumers=st.integers(1, 3))
EVERYBODY = sorted(
    {
        name
        for nodes in ((HERE,), NODES)
        for edition in (1, 2)
        for name in replace(spec(4, 4), edition=edition).on(nodes)
    }
    | {"stranger"}
)
OBSERVED = st.sets(st.sampled_from(EVERYBODY))


def carried_out(actions: list[Action], observed: set[str]) -> set[str]:
    """Who is there afterwards; each action must be one that can be done."""
    there = set(observed)
    for action in actions:
        assert (action.name in there) is not isinstance(action, Start)
        there ^= {action.name}
    return there


@given(SPECS, OBSERVED, CLUSTERS)
def test_a_plan_leads_to_what_is_wanted_and_then_to_rest(
    wanted: Spec, observed: set[str], nodes: set[str]
) -> None:
    there, serving = observed, wanted.on(nodes)
    for _ in range(2):  # holders of other editions go after their gateways
        there = carried_out(plan(wanted, there, nodes, Known(serving)), there)
    assert there == set(wanted.on(nodes))
    assert plan(wanted, there, nodes) == []


@given(SPECS, OBSERVED, CLUSTERS)
def test_who_is_wanted_and_there_is_left_alone(wanted: Spec, observed: set[str], nodes: set[str]) -> None:
    touched = {action.name for action in plan(wanted, observed, nodes)}
    assert touched.isdisjoint(observed & set(wanted.on(nodes)))


@given(SPECS, OBSERVED, CLUSTERS)
def test_only_who_has_no_node_any_more_is_forgotten(
    wanted: Spec, observed: set[str], nodes: set[str]
) -> None:
    for action in plan(wanted, observed, nodes):
        is_gone = node_of(action.name) not in {HERE, *nodes}
        assert isinstance(action, Forget) is is_gone


@given(SPECS, CLUSTERS, CLUSTERS)
def test_a_node_that_comes_or_goes_moves_nobody_on_the_others(
    wanted: Spec, before: set[str], after: set[str]
) -> None:
    touched = {action.name for action in plan(wanted, set(wanted.on(before)), after)}
    assert {node_of(name) for name in touched}.isdisjoint(before & after - {HERE})


def test_a_node_joins_a_node_dies_and_a_cell_has_a_holder_too_many() -> None:
    observed = {*spec(2, 1).on(["aa"]), "holder-0@bb", "gateway@bb"}
    assert plan(spec(1, 1), observed, {"aa", "cc"}) == [
        Forget("gateway@bb"),
        Forget("holder-0@bb"),
        Start("holder-0@cc"),
        Start("gateway@cc"),
        Stop("holder-1@aa"),
    ]


def test_who_is_replaced_stays_until_its_successors_serve() -> None:
    old, new = spec(2, 1), replace(spec(1, 2), edition=2)
    there = {*old.on(["aa"]), *new.on(["aa"])}
    assert plan(new, old.on(["aa"]), {"aa"}) == [Start(name) for name in new.on(["aa"])]
    assert plan(new, there, {"aa"}) == []
    assert plan(new, there, {"aa"}, Known({"holder-0.e2@aa", "consumer-0.e2"})) == []
    assert plan(new, there, {"aa"}, Known({"gateway.e2@aa"})) == [Stop("gateway@aa")]
    assert plan(new, there, {"aa"}, Known({"consumer-0.e2", "consumer-1.e2"})) == [Stop("consumer-0")]
    there.remove("gateway@aa")
    assert plan(new, there, {"aa"}, Known({"gateway.e2@aa"})) == [Stop("holder-0@aa"), Stop("holder-1@aa")]
    assert plan(new, there, {"aa"}) == []


def test_a_node_whose_successors_do_not_serve_keeps_its_own_and_the_next_one_goes_on() -> None:
    old, new = spec(1, 1), replace(spec(1, 1), edition=2)
    there = {*old.on(["aa", "bb"]), *new.on(["aa", "bb"])}
    assert plan(new, there, {"aa", "bb"}, Known({"gateway.e2@bb"})) == [Stop("gateway@bb")]


def test_consumers_leave_a_drained_node_one_after_the_other() -> None:
    drained = replace(spec(1, 2), draining={"aa": 1.0})
    there = drained.on(["aa", "bb"])
    names = {"consumer-0", "consumer-1"}
    known = Known(names, dict.fromkeys(names, "aa"))
    assert plan(drained, there, {"aa", "bb"}, known) == [Stop("consumer-0")]
    left = {*there} - {"consumer-0"}
    assert plan(drained, left, {"aa", "bb"}, known) == [Start("consumer-0")]
    assert plan(drained, there, {"aa", "bb"}, Known({"consumer-1"}, known.places)) == []
    moved = Known(names, {"consumer-0": "bb", "consumer-1": "aa"})
    assert plan(drained, there, {"aa", "bb"}, moved) == [Stop("consumer-1")]
    assert plan(drained, drained.on(["aa"]), {"aa"}, known) == []  # where else?


def test_without_a_node_nobody_starts_and_nobody_stops() -> None:
    assert plan(spec(1, 2), {"consumer-0"}, set()) == []
    assert plan(spec(1, 2), {"consumer-0", "holder-0@aa"}, set()) == [Forget("holder-0@aa")]

"""What a supervisor is to do."""

from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.placement.cell import HERE, node_of
from doorstep.actors.placement.plan import Action, Forget, Start, Stop, Wanted, plan

NODES = ("aa", "bb", "cc")
CLUSTERS = st.one_of(st.just({HERE}), st.sets(st.sampled_from(NODES), min_size=1))
WANTED = st.builds(Wanted, holders=st.integers(1, 3), consumers=st.integers(1, 3))
EVERYBODY = sorted({name for nodes in ((HERE,), NODES) for name in Wanted(4, 4).on(nodes)} | {"stranger"})
OBSERVED = st.sets(st.sampled_from(EVERYBODY))


def carried_out(actions: list[Action], observed: set[str]) -> set[str]:
    """Who is there afterwards; each action must be one that can be done."""
    there = set(observed)
    for action in actions:
        assert (action.name in there) is not isinstance(action, Start)
        there ^= {action.name}
    return there


@given(WANTED, OBSERVED, CLUSTERS)
def test_a_plan_leads_to_what_is_wanted_and_then_to_rest(
    wanted: Wanted, observed: set[str], nodes: set[str]
) -> None:
    there = carried_out(plan(wanted, observed, nodes), observed)
    assert there == set(wanted.on(nodes))
    assert plan(wanted, there, nodes) == []


@given(WANTED, OBSERVED, CLUSTERS)
def test_who_is_wanted_and_there_is_left_alone(wanted: Wanted, observed: set[str], nodes: set[str]) -> None:
    touched = {action.name for action in plan(wanted, observed, nodes)}
    assert touched.isdisjoint(observed & set(wanted.on(nodes)))


@given(WANTED, OBSERVED, CLUSTERS)
def test_only_who_has_no_node_any_more_is_forgotten(
    wanted: Wanted, observed: set[str], nodes: set[str]
) -> None:
    for action in plan(wanted, observed, nodes):
        is_gone = node_of(action.name) not in {HERE, *nodes}
        assert isinstance(action, Forget) is is_gone


@given(WANTED, CLUSTERS, CLUSTERS)
def test_a_node_that_comes_or_goes_moves_nobody_on_the_others(
    wanted: Wanted, before: set[str], after: set[str]
) -> None:
    touched = {action.name for action in plan(wanted, set(wanted.on(before)), after)}
    assert {node_of(name) for name in touched}.isdisjoint(before & after - {HERE})


def test_a_node_joins_a_node_dies_and_a_cell_has_a_holder_too_many() -> None:
    observed = {*Wanted(2, 1).on(["aa"]), "holder-0@bb", "gateway@bb"}
    assert plan(Wanted(1, 1), observed, {"aa", "cc"}) == [
        Forget("gateway@bb"),
        Forget("holder-0@bb"),
        Start("holder-0@cc"),
        Start("gateway@cc"),
        Stop("holder-1@aa"),
    ]

"""Slots, their owners, and the names of actors."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.placement.cell import (
    HERE,
    SUPERVISOR,
    Cell,
    consumers,
    edition_of,
    is_far,
    kind_of,
    node_of,
)
from doorstep.actors.placement.slots import SLOTS, owners, ranked, slot_of

pytestmark = pytest.mark.patient


def test_a_slot_never_changes_with_machine_or_version() -> None:
    assert [slot_of(user) for user in ("u1", "teacher-7", "Åsa", "")] == SLOTS_OF_KNOWN_USERS


SLOTS_OF_KNOWN_USERS = [241, 36, 231, 194]


NUMBERS = st.integers(1, 40)


@given(NUMBERS)
def test_every_holder_owns_as_many_slots_as_the_others_or_one_more(holders: int) -> None:
    owned = Counter(owners(holders))
    assert len(owned) == holders
    assert max(owned.values()) - min(owned.values()) <= 1


@given(NUMBERS, NUMBERS)
def test_only_those_slots_move_that_must(before: int, after: int) -> None:
    """The share of those who come, or of those who go."""
    fewer, more = sorted([before, after])
    pairs = list(zip(owners(before), owners(after), strict=True))
    moved = [pair for pair in pairs if pair[0] != pair[1]]
    assert all(max(pair) >= fewer for pair in moved)
    assert abs(len(moved) - SLOTS * (more - fewer) / more) < more


def test_one_to_four_to_two_holders_moves_three_quarters_and_then_half() -> None:
    one, four, two = owners(1), owners(4), owners(2)
    assert sum(a != b for a, b in zip(one, four, strict=True)) == SLOTS * 3 // 4
    assert sum(a != b for a, b in zip(four, two, strict=True)) == SLOTS // 2


@given(NUMBERS, st.integers(0, SLOTS - 1))
def test_the_owner_is_the_first_of_all_and_the_others_are_spread(holders: int, slot: int) -> None:
    assert sorted(ranked(slot, holders)) == list(range(holders))
    assert ranked(slot, holders)[0] == owners(holders)[slot]


def test_the_users_of_one_that_is_away_go_to_many() -> None:
    seconds = Counter(ranked(slot, 5)[1] for slot in range(SLOTS) if owners(5)[slot] == 0)
    assert len(seconds) == 4


@pytest.mark.parametrize("holders", [0, -1, SLOTS + 1])
def test_a_number_of_holders_that_cannot_be_is_an_error(holders: int) -> None:
    with pytest.raises(ValueError, match="1 to 256 holders"):
        owners(holders)


@pytest.mark.parametrize(("node", "at"), [(HERE, ""), ("ab12", "@ab12")])
def test_the_actors_of_a_cell_say_what_they_are_and_where(node: str, at: str) -> None:
    cell = Cell.of(node, 2)
    assert cell.actors == (f"holder-0{at}", f"holder-1{at}", f"gateway{at}")
    assert [kind_of(name) for name in cell.actors] == ["holder", "holder", "gateway"]
    assert {node_of(name) for name in cell.actors} == {node}
    assert set(cell.holders_of("u1")) == set(cell.holders)
    assert cell.holders_of("u1")[0] == cell.owner_of(slot_of("u1"))
    assert slot_of("u1") in cell.slots_of(cell.owner_of(slot_of("u1")))
    assert cell.slots_of("stranger") == frozenset()


def test_consumers_and_the_supervisor_belong_to_no_node() -> None:
    names = [*consumers(2), SUPERVISOR]
    assert names == ["consumer-0", "consumer-1", "supervisor"]
    assert [kind_of(name) for name in names] == ["consumer", "consumer", "supervisor"]
    assert {node_of(name) for name in names} == {""}


@pytest.mark.parametrize(("node", "at"), [(HERE, ""), ("e2ab12", "@e2ab12")])
@pytest.mark.parametrize(("edition", "mark"), [(1, ""), (2, ".e2"), (12, ".e12")])
def test_the_actors_of_a_later_edition_say_which(node: str, at: str, edition: int, mark: str) -> None:
    names = (*Cell.of(node, 1, edition).actors, *consumers(1, edition))
    assert names == (f"holder-0{mark}{at}", f"gateway{mark}{at}", f"consumer-0{mark}")
    assert [kind_of(name) for name in names] == ["holder", "gateway", "consumer"]
    assert [node_of(name) for name in names] == [node, node, HERE]
    assert {edition_of(name) for name in names} == {edition}


@pytest.mark.parametrize(
    ("name", "far"),
    [
        ("holder-0.e2@here", False),
        ("consumer-1.e2", False),
        ("holder-0.e2@there", True),
        ("holder-0@here", True),
        ("consumer-1", True),
    ],
)
def test_who_is_far_is_of_another_node_or_edition(name: str, far: bool) -> None:
    assert is_far(name, "here", 2) is far

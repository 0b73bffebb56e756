"""Slots, their owners, and the names of actors."""

from collections import Counter

import pytest

from doorstep.actors.placement.cell import HERE, SUPERVISOR, Cell, consumers, kind_of, node_of
from doorstep.actors.placement.slots import SLOTS, owner_of, ranked, slot_of


def test_a_slot_never_changes_with_machine_or_version() -> None:
    assert [slot_of(user) for user in ("u1", "teacher-7", "Åsa", "")] == SLOTS_OF_KNOWN_USERS


SLOTS_OF_KNOWN_USERS = [241, 36, 231, 194]


def test_owners_are_spread_and_few_slots_move() -> None:
    three, four = ["a", "b", "c"], ["a", "b", "c", "d"]
    before = {slot: owner_of(slot, three) for slot in range(SLOTS)}
    after = {slot: owner_of(slot, four) for slot in range(SLOTS)}
    moved = [slot for slot in range(SLOTS) if before[slot] != after[slot]]
    assert min(Counter(before.values()).values()) > SLOTS // 3 * 0.7
    assert all(after[slot] == "d" for slot in moved)
    assert SLOTS / 4 * 0.6 < len(moved) < SLOTS / 4 * 1.4


def test_the_order_of_the_holders_does_not_matter() -> None:
    assert all(owner_of(slot, ["a", "b", "c"]) == owner_of(slot, ["c", "a", "b"]) for slot in range(SLOTS))


def test_the_next_of_a_slot_is_who_would_own_it_without_the_first() -> None:
    for slot in range(SLOTS):
        first, *others = ranked(slot, ["a", "b", "c"])
        assert first == owner_of(slot, ["a", "b", "c"])
        assert others[0] == owner_of(slot, others)


def test_no_holder_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        owner_of(1, [])


@pytest.mark.parametrize(("node", "at"), [(HERE, ""), ("ab12", "@ab12")])
def test_the_actors_of_a_cell_say_what_they_are_and_where(node: str, at: str) -> None:
    cell = Cell.of(node, 2)
    assert cell.actors == (f"holder-0{at}", f"holder-1{at}", f"gateway{at}")
    assert [kind_of(name) for name in cell.actors] == ["holder", "holder", "gateway"]
    assert {node_of(name) for name in cell.actors} == {node}
    assert set(cell.holders_of("u1")) == set(cell.holders)


def test_consumers_and_the_supervisor_belong_to_no_node() -> None:
    names = [*consumers(2), SUPERVISOR]
    assert names == ["consumer-0", "consumer-1", "supervisor"]
    assert [kind_of(name) for name in names] == ["consumer", "consumer", "supervisor"]
    assert {node_of(name) for name in names} == {""}

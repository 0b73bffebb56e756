"""Slots, owners, and what a supervisor is to do."""

from collections import Counter
from pathlib import Path

import pytest

from doorstep.actors.placement.slots import SLOTS, owner_of, slot_of
from doorstep.actors.placement.topology import Start, Stop, Topology, plan


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


def test_no_holder_is_an_error() -> None:
    with pytest.raises(ValueError, match="empty"):
        owner_of(1, [])


def test_everybody_has_a_name_and_a_holder_a_socket(tmp_path: Path) -> None:
    topology = Topology.of(holders=2, consumers=1, run_dir=tmp_path)
    assert topology.actors == ("holder-0", "holder-1", "consumer-0", "gateway")
    assert topology.socket_of("holder-1") == tmp_path / "holder-1.sock"
    assert topology.holder_of("u1") in topology.holders


def test_a_plan_starts_what_is_missing_and_stops_what_is_too_much() -> None:
    assert plan(["a", "b"], {"a", "b"}) == []
    assert plan(["a", "b"], {"b", "z", "y"}) == [Start("a"), Stop("y"), Stop("z")]

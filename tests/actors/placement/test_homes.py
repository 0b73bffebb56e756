"""Homes: the same wherever the same cells are known, and no more moves than must."""

import random
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from doorstep.actors.placement.homes import home_of, public_name, slots_at
from doorstep.actors.placement.slots import SLOTS, slot_of

pytestmark = pytest.mark.patient

CELL = st.integers(0, 50).map("cell-{}".format)
CELLS = st.lists(CELL, min_size=1, max_size=12, unique=True)


def homes(cells: list[str]) -> dict[int, str]:
    """By slot, its home."""
    return {slot: cell for cell in cells for slot in slots_at(cell, cells)}


def test_a_home_never_changes_with_machine_or_version() -> None:
    users = ("u1", "teacher-7", "Åsa", "")
    assert [home_of(user, ["a", "b", "c"]) for user in users] == HOMES_OF_KNOWN_USERS


HOMES_OF_KNOWN_USERS = ["a", "a", "a", "b"]


@settings(max_examples=30)
@given(CELLS, st.randoms(use_true_random=False))
def test_all_agree_who_know_the_same_cells_in_whatever_order(cells: list[str], chance: random.Random) -> None:
    known = homes(cells)
    shuffled = sorted(cells, key=lambda _: chance.random())
    assert homes(shuffled) == known
    assert sum(len(slots_at(cell, cells)) for cell in cells) == SLOTS == len(known)
    for user in map(str, range(20)):
        assert home_of(user, shuffled) == known[slot_of(user)]


@settings(max_examples=30)
@given(CELLS, CELL)
def test_only_those_slots_move_that_a_newcomer_takes(cells: list[str], newcomer: str) -> None:
    """And seen the other way round, only those of a cell that goes."""
    before, after = homes(cells), homes([*{*cells, newcomer}])
    assert {after[slot] for slot in range(SLOTS) if after[slot] != before[slot]} <= {newcomer}


@settings(max_examples=30)
@given(CELLS, CELL)
def test_a_cell_that_is_not_heard_of_counts_itself(cells: list[str], ours: str) -> None:
    """Nobody is without a home who comes to it meanwhile, and nobody's home is nowhere."""
    assert slots_at(ours, cells) == slots_at(ours, {*cells, ours})
    assert slots_at(ours, ()) == frozenset(range(SLOTS))


def test_shares_are_even_enough() -> None:
    """The largest of eight shares is a fifth to two fifths above the mean, whatever the cells are called."""
    for number in range(20):
        shares = Counter(homes([f"cell-{number}-{each}" for each in range(8)]).values())
        assert len(shares) == 8
        assert max(shares.values()) < 1.6 * SLOTS / 8


def test_without_cells_nobody_has_a_home() -> None:
    assert home_of("u1", ()) is None


@pytest.mark.parametrize(
    ("given_name", "host", "public"),
    [
        ("", "edge-1", "edge-1"),
        ("", "Edge-1.internal.example", "edge-1"),
        ("a.B", "edge-1", "a.b"),
        ("1", "", "1"),
    ],
)
def test_a_node_is_called_as_it_was_told_or_as_its_host(given_name: str, host: str, public: str) -> None:
    assert public_name(given_name, host) == public


@pytest.mark.parametrize(
    "given_name", ["a_b", "-a", "a/", "a..b", "å", "a" * 64, ".".join(["a"] * 128), "a\n"]
)
def test_a_name_that_no_address_can_have_is_an_error(given_name: str) -> None:
    with pytest.raises(ValueError, match="--node-name"):
        public_name(given_name, "host")

"""Who is connected, against a plain list of everybody."""

from dataclasses import dataclass
from typing import Literal

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from doorstep.actors.holding.registry import Kind, Registry
from doorstep.actors.placement.slots import SLOTS, slot_of

pytestmark = pytest.mark.patient

USERS = [f"user-{number}" for number in range(6)]
OWNED = {slot_of(user) for user in USERS[:2]}


@dataclass(eq=False)
class Connection:
    """Somebody who is connected."""

    user_id: str
    kind: Kind = "socket"


def registry(sockets: int = 10, polls: int = 10) -> Registry[Connection]:
    return Registry(OWNED, {"socket": sockets, "poll": polls})


def test_a_user_has_room_up_to_the_limit_of_each_kind() -> None:
    here = registry(sockets=2, polls=1)
    first = Connection("u")
    here.add(first)
    assert here.has_room("u", "socket")
    here.add(Connection("u"))
    assert not here.has_room("u", "socket")
    assert here.has_room("u", "poll")
    here.add(Connection("u", "poll"))
    assert not here.has_room("u", "poll")
    assert here.has_room("somebody else", "socket")
    here.remove(first)
    assert here.has_room("u", "socket")


def test_a_slot_of_guests_is_needed_from_the_first_to_the_last() -> None:
    here = registry()
    guests = [Connection(USERS[3]), Connection(USERS[3])]
    assert [here.add(guest) for guest in guests] == [slot_of(USERS[3]), None]
    assert here.slots == len(OWNED) + 1
    assert [here.remove(guest) for guest in guests] == [None, slot_of(USERS[3])]
    assert here.slots == len(OWNED)


def test_a_slot_of_its_own_is_needed_whoever_is_there() -> None:
    here = registry()
    mine = Connection(USERS[0])
    assert (here.add(mine), here.remove(mine)) == (None, None)


def test_who_was_there_stays_listed_while_others_come_and_leave() -> None:
    here = registry()
    one, two = Connection("u"), Connection("u")
    here.add(one)
    before = here.of("u")
    here.add(two)
    here.remove(one)
    assert list(before) == [one]
    assert list(here.of("u")) == [two]


class RegistryOfEverybody(RuleBasedStateMachine):
    """Whoever comes and leaves: the registry says what the list says."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = registry(sockets=2, polls=1)
        self.everybody: list[Connection] = []
        self.owned = OWNED
        self.fed: set[int] = set()

    @rule(user=st.sampled_from(USERS), kind=st.sampled_from(["socket", "poll"]))
    def come(self, user: str, kind: Literal["socket", "poll"]) -> None:
        here = sum(each.user_id == user and each.kind == kind for each in self.everybody)
        assert self.registry.has_room(user, kind) == (here < {"socket": 2, "poll": 1}[kind])
        member = Connection(user, kind)
        needed = self.registry.add(member)
        self.everybody.append(member)
        assert needed not in self.fed
        self.fed |= set() if needed is None else {needed}

    @precondition(lambda self: self.everybody)
    @rule(which=st.integers(0, 99))
    def leave(self, which: int) -> None:
        member = self.everybody.pop(which % len(self.everybody))
        spare = self.registry.remove(member)
        self.fed -= set() if spare is None else {spare}

    @rule(owned=st.sets(st.sampled_from([*map(slot_of, USERS), 300])))
    def own(self, owned: set[int]) -> None:
        before = self.owned | self.fed
        spare = self.registry.own(owned)
        self.owned = owned
        self.fed = {slot_of(each.user_id) for each in self.everybody} - owned
        assert spare == before - owned - self.fed

    @invariant()
    def the_feeds_are_those_of_guests(self) -> None:
        assert self.fed == {slot_of(each.user_id) for each in self.everybody} - self.owned
        assert self.registry.owned == self.owned
        assert self.registry.slots == len(self.owned) + len(self.fed) <= SLOTS

    @invariant()
    def everybody_is_there_once_and_in_order(self) -> None:
        assert self.registry.connections == len(self.everybody)
        assert set(self.registry) == {each.user_id for each in self.everybody}
        assert len(self.registry) == len(set(self.registry))
        for user in USERS:
            assert list(self.registry.of(user)) == [each for each in self.everybody if each.user_id == user]
        assert set(self.registry.everyone()) == set(self.everybody)


TestRegistryOfEverybody = RegistryOfEverybody.TestCase
TestRegistryOfEverybody.settings = settings(max_examples=200, stateful_step_count=30)

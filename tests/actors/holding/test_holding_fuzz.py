"""Inbox and registry in random worlds: histories that begin anew, a feed that loses, repeats and mixes."""

import random
from collections import deque

import pytest

from doorstep.actors.holding.inbox import Inbox, OnPush, Read, Reset, Send, Step, Welcome
from doorstep.actors.holding.registry import Kind, Registry
from doorstep.actors.placement.slots import slot_of
from doorstep.actors.store.values import Logged, Page
from doorstep.gateway.cursor import Cursor
from tests.actors.holding.test_registry import Connection
from tests.support.fuzz import fuzz

pytestmark = pytest.mark.patient

_STEPS_OF_A_WORLD = 60


class World:
    """A log that may lose its history, its feed, and one subscriber that gets what its inbox says."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self.history = 0
        self.head = chance.randrange(6)
        self.feed: deque[Logged] = deque()
        cursor = chance.choice([None, self._cursor(chance.randrange(8)), Cursor(3, "f" * 16)])
        self.inbox = Inbox(cursor)
        self.asked_for = cursor
        self.reads = 1
        self.full = False
        self.stands: Cursor | None = None

    def step(self) -> None:
        """One thing happens."""
        self.chance.choice(
            [self._append, self._append, self._push, self._push, self._answer, self._block, self._drain]
            + [self._begin_anew] * self.chance.choice([0, 0, 0, 1])
            + [self._look]
        )()
        assert self.reads <= 1
        assert self.reads or self.inbox.state != "reading"

    def settle(self) -> None:
        """Nothing more is lost: in the end the subscriber stands at the head."""
        self.feed.clear()
        self._drain()
        for _ in range(3 + self.head):
            self._look()
            if self.reads:
                self._answer()
        assert self.stands == self._cursor(self.head) == self.inbox.cursor
        assert self.inbox.state == "live"

    def _append(self) -> None:
        self.head += 1
        logged = self._logged(self.head)
        self.feed.extend([logged] * self.chance.choice([0, 1, 1, 1, 2]))
        if self.chance.random() < 0.1:
            self.chance.shuffle(self.feed)

    def _begin_anew(self) -> None:
        self.history += 1
        self.head = self.chance.randrange(3)

    def _push(self) -> None:
        if self.feed:
            logged = self.feed.popleft()
            action = self.inbox.push(logged.seq, logged.previous.encode(), logged.digest.encode())
            if action == "send":
                self._take(logged)
            self._follow(action)

    def _answer(self) -> None:
        if self.reads:
            self.reads -= 1
            for step in self.inbox.page(self._page()):
                self._carry_out(step)

    def _block(self) -> None:
        self.full = True
        self.inbox.block()

    def _drain(self) -> None:
        if self.full:
            self.full = False
            self._follow(self.inbox.drain())

    def _look(self) -> None:
        self._follow(self.inbox.see_head(self._cursor(self.head)))

    def _carry_out(self, step: Step) -> None:
        match step:
            case Welcome(cursor, resumed, reset):
                assert self.stands is None
                assert resumed == (cursor == self.asked_for and reset is None)
                self.stands = cursor
            case Reset(_, cursor):
                assert self.stands is not None
                self.stands = cursor
            case Send(notifications):
                for logged in notifications:
                    self._take(logged)
            case Read():
                self.reads += 1

    def _take(self, logged: Logged) -> None:
        """Whatever is sent continues what the subscriber has, and it has room for it."""
        assert not self.full
        assert self.stands == Cursor(logged.seq - 1, logged.previous)
        self.stands = logged.cursor

    def _page(self) -> Page:
        head, after = self._cursor(self.head), self.inbox.cursor
        if after is None:
            return Page((), head, None)
        if after.seq > self.head or after != self._cursor(after.seq):
            return Page((), head, "diverged")
        last = min(self.head, after.seq + self.chance.randrange(1, 4))
        return Page([self._logged(seq) for seq in range(after.seq + 1, last + 1)], head, None)

    def _cursor(self, seq: int) -> Cursor:
        return Cursor(seq, f"{self.history:08x}{seq:08x}")

    def _logged(self, seq: int) -> Logged:
        return Logged("u", seq, self._cursor(seq - 1).digest, self._cursor(seq).digest, b"{}")

    def _follow(self, action: OnPush) -> None:
        self.reads += action == "read"


@pytest.mark.fuzz
@pytest.mark.usefixtures("without_coverage")
def test_an_inbox_sends_the_log_and_ends_at_its_head_whatever_happens() -> None:
    world: World | None = None
    for number, chance in enumerate(fuzz()):
        if world is None:
            world = World(chance)
        world.step()
        if number % _STEPS_OF_A_WORLD == _STEPS_OF_A_WORLD - 1:
            world.settle()
            world = None


@pytest.mark.fuzz
@pytest.mark.usefixtures("without_coverage")
def test_a_registry_says_what_a_list_of_everybody_says() -> None:
    users = [f"user-{number}" for number in range(8)]
    owned = {slot_of(user) for user in users[:3]}
    limits: dict[Kind, int] = {"socket": 3, "poll": 2}
    registry = Registry[Connection](owned, limits)
    everybody: list[Connection] = []
    fed: set[int] = set()
    for chance in fuzz():
        if everybody and chance.random() < 0.5:
            member = everybody.pop(chance.randrange(len(everybody)))
            fed -= {registry.remove(member)}
        else:
            member = Connection(chance.choice(users), chance.choice(["socket", "poll"]))
            here = [each for each in everybody if (each.user_id, each.kind) == (member.user_id, member.kind)]
            assert registry.has_room(member.user_id, member.kind) == (len(here) < limits[member.kind])
            if len(here) < limits[member.kind]:
                needed = registry.add(member)
                everybody.append(member)
                fed |= set() if needed is None else {needed}
        assert fed == {slot_of(each.user_id) for each in everybody} - owned
        assert list(registry.of(member.user_id)) == [
            each for each in everybody if each.user_id == member.user_id
        ]
        assert (registry.connections, len(registry)) == (
            len(everybody),
            len({each.user_id for each in everybody}),
        )

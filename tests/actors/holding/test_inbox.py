"""The inbox against a model of a log, a feed that loses and repeats, and a subscriber that blocks."""

from collections import deque

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from doorstep.actors.holding.inbox import Inbox, OnPush, Read, ReadMark, Reset, Send, Welcome
from doorstep.actors.store.values import Logged, Page
from doorstep.gateway.cursor import Cursor, ResetReason

pytestmark = pytest.mark.patient

START = Cursor(0, "5" * 16)


def logged(seq: int, history: str = "a") -> Logged:
    """Entry `seq` of one of several histories, each a chain of its own."""
    before = START.digest if seq == 1 else digest(seq - 1, history)
    return Logged("u", seq, before, digest(seq, history), b"{}")


def digest(seq: int, history: str = "a") -> str:
    return history * 8 + f"{seq:08x}"


def cursor(seq: int, history: str = "a") -> Cursor:
    return Cursor(seq, digest(seq, history)) if seq else START


def page(*seqs: int, head: int, reset: ResetReason | None = None, read: int = 0) -> Page:
    return Page([logged(seq) for seq in seqs], cursor(head), reset, read)


def push(inbox: Inbox, entry: Logged) -> OnPush:
    return inbox.push(entry.seq, entry.previous.encode(), entry.digest.encode())


def live(seq: int) -> Inbox:
    inbox = Inbox(cursor(seq))
    inbox.page(page(head=seq))
    assert inbox.state == "live"
    return inbox


def test_welcomes_a_newcomer_at_the_head_and_sends_it_what_follows() -> None:
    inbox = Inbox(None)
    assert inbox.page(page(head=7)) == [Welcome(cursor(7), resumed=False, unread=7)]
    assert push(inbox, logged(8)) == "send"
    assert inbox.cursor == cursor(8)


def test_welcomes_a_newcomer_before_the_replay_it_asked_for() -> None:
    inbox = Inbox(None)
    steps = inbox.page(page(6, 7, head=7))
    assert steps == [Welcome(cursor(5), resumed=False, unread=7), Send([logged(6), logged(7)])]


def test_a_resumed_client_gets_what_it_missed_page_by_page() -> None:
    inbox = Inbox(cursor(1))
    steps = inbox.page(page(2, 3, head=4))
    assert steps == [Welcome(cursor(1), resumed=True, unread=4), Send([logged(2), logged(3)]), Read()]
    assert inbox.page(page(4, head=4)) == [Send([logged(4)])]
    assert inbox.state == "live"


def test_a_reset_goes_on_from_the_head() -> None:
    inbox = Inbox(cursor(1))
    steps = inbox.page(page(head=9, reset="trimmed"))
    assert steps == [Welcome(cursor(9), resumed=False, reset="trimmed", unread=9)]
    assert push(inbox, logged(10)) == "send"


def test_a_position_that_is_lost_while_connected_is_a_reset_of_its_own() -> None:
    inbox = live(2)
    assert push(inbox, logged(9)) == "read"
    assert inbox.page(page(head=9, reset="diverged")) == [Reset("diverged", cursor(9))]
    assert inbox.cursor == cursor(9)


def test_a_push_during_a_read_makes_it_read_again() -> None:
    inbox = Inbox(cursor(1))
    assert push(inbox, logged(2)) == "nothing"
    assert inbox.page(page(head=1)) == [Welcome(cursor(1), resumed=True, unread=1), Read()]
    assert inbox.page(page(2, head=2)) == [Send([logged(2)])]


def test_a_push_with_a_gap_or_of_another_history_is_not_sent() -> None:
    for entry in (logged(9), logged(3, "b"), logged(2)):
        inbox = live(2)
        assert push(inbox, entry) == "read"
        assert inbox.cursor == cursor(2)


def test_the_right_digest_at_the_wrong_number_is_not_sent() -> None:
    inbox = live(2)
    assert push(inbox, logged(3)._replace(seq=7)) == "read"


def test_a_blocked_subscriber_gets_nothing_until_it_drains() -> None:
    inbox = live(2)
    inbox.block()
    assert push(inbox, logged(3)) == "nothing"
    assert inbox.drain() == "read"
    assert inbox.page(page(3, head=3)) == [Send([logged(3)]), Read()]


def test_a_page_that_comes_while_blocked_is_dropped_and_read_again() -> None:
    inbox = Inbox(cursor(0))
    inbox.block()
    assert inbox.page(page(1, head=1)) == ()
    assert inbox.drain() == "read"
    assert Send([logged(1)]) in inbox.page(page(1, head=1))


def test_a_drain_before_the_page_waits_for_that_page() -> None:
    inbox = Inbox(cursor(0))
    inbox.block()
    assert inbox.drain() == "nothing"
    assert Send([logged(1)]) in inbox.page(page(1, head=1))


def test_a_head_elsewhere_makes_a_live_subscriber_read() -> None:
    assert live(2).see_head(cursor(2)) == "nothing"
    assert live(2).see_head(cursor(3)) == "read"
    assert live(2).see_head(START) == "read"
    assert live(0).see_head(START) == "nothing"
    assert live(0).see_head(Cursor(0, "6" * 16)) == "read"
    assert Inbox(cursor(2)).see_head(cursor(3)) == "nothing"


class InboxInAWorld(RuleBasedStateMachine):
    """Whatever happens in between: what is sent is the log from the cursor on, and in the end all of it."""

    @initialize(already=st.integers(0, 5), at=st.integers(0, 5))
    def begin(self, already: int, at: int) -> None:
        self.length = max(already, at)
        self.inbox = Inbox(cursor(at))
        self.sent = at
        self.reads = 1
        self.feed: deque[int] = deque()
        self.full = False

    @rule(lost=st.booleans(), twice=st.booleans())
    def append(self, lost: bool, twice: bool) -> None:
        self.length += 1
        self.feed.extend([] if lost else [self.length] * (1 + twice))

    @precondition(lambda self: self.feed)
    @rule()
    def feed_brings_a_push(self) -> None:
        seq = self.feed.popleft()
        action = push(self.inbox, logged(seq))
        if action == "send":
            assert not self.full
            self.take(seq)
        self.follow(action)

    @precondition(lambda self: self.reads)
    @rule(limit=st.integers(1, 3))
    def a_read_is_answered(self, limit: int) -> None:
        self.reads -= 1
        at = self.inbox.cursor
        assert at is not None
        last = min(at.seq + limit, self.length)
        for step in self.inbox.page(page(*range(at.seq + 1, last + 1), head=self.length)):
            if isinstance(step, Send):
                for notification in step.notifications:
                    self.take(notification.seq)
            elif isinstance(step, Read):
                self.reads += 1

    @precondition(lambda self: not self.full)
    @rule()
    def block(self) -> None:
        self.full = True
        self.inbox.block()

    @precondition(lambda self: self.full)
    @rule()
    def drain(self) -> None:
        self.full = False
        self.follow(self.inbox.drain())

    @rule()
    def feed_breaks_and_comes_back(self) -> None:
        self.feed.clear()
        self.follow(self.inbox.see_head(cursor(self.length)))

    @invariant()
    def at_most_one_read_is_under_way(self) -> None:
        assert self.reads <= 1
        assert self.reads or self.inbox.state != "reading"

    def take(self, seq: int) -> None:
        assert seq == self.sent + 1
        self.sent = seq

    def follow(self, action: OnPush) -> None:
        self.reads += action == "read"

    def teardown(self) -> None:
        if not hasattr(self, "inbox"):
            return
        if self.full:
            self.drain()
        while self.reads:
            self.a_read_is_answered(2)
        self.feed_breaks_and_comes_back()
        while self.reads:
            self.a_read_is_answered(2)
        assert self.sent == self.length


TestInboxInAWorld = InboxInAWorld.TestCase
TestInboxInAWorld.settings = settings(max_examples=300, stateful_step_count=40)


def test_how_far_the_user_has_read_is_told_at_first_and_when_it_moves() -> None:
    inbox = Inbox(cursor(4))
    assert inbox.page(page(head=4, read=2)) == [Welcome(cursor(4), resumed=True, read=2, unread=2)]
    assert inbox.push(0, b"", b"") == "read"  # a mark is no notification: what it says is in the log
    assert inbox.page(page(5, head=5, read=2)) == [Send([logged(5)])]
    assert inbox.push(0, b"", b"") == "read"
    assert inbox.page(page(head=5, read=5)) == [ReadMark(5, 0)]
    assert inbox.push(0, b"", b"") == "read"
    assert inbox.page(page(head=1, reset="gone")) == [Reset("gone", cursor(1)), ReadMark(0, 1)]

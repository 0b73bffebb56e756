"""Appends, reads and losses in any order, against a model: Hypothesis looks for the order that breaks it."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import takewhile

import pytest
import redis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, MultipleResults, RuleBasedStateMachine, multiple, rule
from hypothesis.stateful import run_state_machine_as_test as run_machine

from doorstep.actors.store.feed import read_message
from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.connection import connect
from doorstep.config.settings import HistorySettings
from doorstep.gateway.cursor import Cursor
from tests.actors.store.conftest import Eyes
from tests.actors.store.helpers import (
    START,
    append,
    cursors_of,
    head_key,
    ids_key,
    keys_of,
    log_key,
    read,
    redis_settings,
    stamp,
)
from tests.support.servers import ValkeyServer
from tests.support.waiting import a_while

pytestmark = pytest.mark.patient

WINDOW = 6
USERS = st.sampled_from(["u", "v"])
KEYS = st.lists(st.sampled_from("abcdefghijklmnop"), min_size=1, max_size=5)
LIMITS = st.integers(min_value=1, max_value=8)


class Model:
    """What is true of one user's log, and what a reader has to be told."""

    def __init__(self) -> None:
        self.has_head = False
        self.history: list[str] = []
        """The dedupe keys of all entries up to the head."""
        self.kept: set[int] = set()
        """The numbers that are still in the log."""
        self.known: dict[str, int] = {}

    def append(self, keys: Sequence[str]) -> list[int]:
        """The numbers of those that are new."""
        if not self.has_head:
            self.__dict__.update(vars(Model()), has_head=True)
        numbers = [self._append(key) for key in dict.fromkeys(keys) if key not in self.known]
        self.known = dict(sorted(self.known.items(), key=lambda item: item[1])[-WINDOW:])
        return numbers

    def _append(self, key: str) -> int:
        self.history.append(key)
        number = len(self.history)
        self.known[key] = number
        self.kept.add(number)
        return number

    def read(self, after: Cursor | None, limit: int, replay: int) -> tuple[list[str], str | None]:
        """The dedupe keys of the page, and why it is a reset."""
        if not self.has_head:
            return [], None if after in (None, START) else "gone"
        if after is None:
            return self._replay(limit, replay), None
        chain = cursors_of(self.history)
        if after.seq >= len(self.history):
            return [], None if after == chain[-1] else "diverged"
        if after.seq + 1 not in self.kept:
            return [], "trimmed"
        if after != chain[after.seq]:
            return [], "diverged"
        return self._from(after.seq + 1, limit), None

    def _replay(self, limit: int, replay: int) -> list[str]:
        first = [number for number in self.kept if number > len(self.history) - replay]
        return self._from(min(first), min(limit, replay)) if first else []

    def _from(self, first: int, limit: int) -> list[str]:
        numbers = takewhile(self.kept.__contains__, range(first, first + limit))
        return [self.history[number - 1] for number in numbers]


class LogMachine(RuleBasedStateMachine):
    """Two users' logs on the real server, and a model of each."""

    url = ""
    cursors: Bundle[Cursor] = Bundle("cursors")

    def __init__(self) -> None:
        super().__init__()
        self.models = {"u": Model(), "v": Model()}
        self.eyes = Eyes(self.url)
        self.eyes("FLUSHALL")
        self.pushes = self.eyes.listen()
        self.runner = asyncio.Runner()
        self.connection = connect(redis_settings(self.url))
        self.runner.run(stamp(self.connection))
        self.log = Log(self.connection, HistorySettings(dedupe_window=WINDOW))

    def teardown(self) -> None:
        self.runner.run(self.connection.close())
        self.runner.close()
        self.eyes.close()

    @rule(target=cursors, user=USERS, keys=KEYS)
    def append(self, user: str, keys: list[str]) -> MultipleResults[Cursor]:
        model = self.models[user]
        numbers = model.append(keys)
        appended = self.runner.run(append(self.log, user, *keys))
        assert appended == (len(numbers), len(model.history))
        chain = cursors_of(model.history)
        new = [chain[number] for number in numbers]
        self._was_published(user, new)
        return multiple(*new)

    def _was_published(self, user: str, new: list[Cursor]) -> None:
        if new:
            (message,) = self.pushes(1)
            published = [(user, seq, digest) for user, seq, _, digest, _ in read_message(message)]
            assert published == [(user.encode(), each.seq, each.digest.encode()) for each in new]

    @rule(user=USERS, after=st.one_of(cursors, st.none(), st.just(START)), limit=LIMITS, replay=LIMITS)
    def read(self, user: str, after: Cursor | None, limit: int, replay: int) -> None:
        expected, reset = self.models[user].read(after, limit, replay)
        page = self.runner.run(read(self.log, user, after, limit=limit, replay=replay))
        assert (keys_of(page), page.reset) == (expected, reset)
        model = self.models[user]
        chain = cursors_of(model.history)
        assert all(each.cursor == chain[each.seq] for each in page.notifications)
        assert page.head == (chain[-1] if model.has_head else START)

    def _meddle(self, *command: str | int) -> None:
        with suppress(redis.ResponseError):  # of a key that has another type already
            self.eyes(*command)

    @rule(user=USERS)
    def the_log_expires(self, user: str) -> None:
        self.eyes("DEL", log_key(user), ids_key(user))
        self.models[user].kept.clear()
        self.models[user].known.clear()

    @rule(user=USERS)
    def the_ids_are_lost(self, user: str) -> None:
        self.eyes("DEL", ids_key(user))
        self.models[user].known.clear()

    @rule(user=USERS)
    def the_head_is_lost(self, user: str) -> None:
        self.eyes("DEL", head_key(user))
        self.models[user].has_head = False

    @rule(user=USERS, count=st.integers(min_value=0, max_value=5))
    def the_log_is_trimmed(self, user: str, count: int) -> None:
        self._meddle("XTRIM", log_key(user), "MAXLEN", count)
        kept = self.models[user].kept
        kept.intersection_update(sorted(kept)[len(kept) - count :] if count <= len(kept) else kept)

    @rule(user=USERS, number=st.integers(min_value=1, max_value=20))
    def an_entry_is_deleted(self, user: str, number: int) -> None:
        self._meddle("XDEL", log_key(user), f"{number}-0")
        self.models[user].kept.discard(number)

    @rule(user=USERS, spoilt=st.sampled_from([log_key, ids_key, head_key]))
    def a_key_gets_another_type(self, user: str, spoilt: Callable[[str], str]) -> None:
        self.eyes("DEL", spoilt(user))
        self.eyes("RPUSH", spoilt(user), "foreign")
        model = self.models[user]
        if spoilt is log_key:
            model.kept.clear()
        elif spoilt is ids_key:
            model.known.clear()
        else:
            model.has_head = False

    @rule()
    def everything_is_lost(self) -> None:
        self.eyes("FLUSHALL")
        self.eyes("SCRIPT", "FLUSH")
        self.runner.run(stamp(self.connection))
        self.models = {"u": Model(), "v": Model()}

    @rule()
    def all_connections_are_cut(self) -> None:
        self.eyes("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        self.runner.run(a_while(0.01))


def test_log_against_its_model(valkey: ValkeyServer) -> None:
    machine = type("BoundLogMachine", (LogMachine,), {"url": valkey.url})
    run_machine(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=30,
            suppress_health_check=list(HealthCheck),
        ),
    )

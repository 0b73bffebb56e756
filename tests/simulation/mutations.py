"""Doorstep with one thing broken, to see that the simulation finds it.

A bug that it has found stays here, as its cure undone. A seed alone would not keep it: whatever is changed in
Doorstep or in the simulation makes another run of it, and then others have to be tried.
"""

import hashlib
from collections.abc import Callable, Collection
from contextlib import AbstractContextManager
from copy import copy
from dataclasses import dataclass
from unittest.mock import patch

from doorstep.actors.consuming import rollback_guard
from doorstep.actors.consuming.assignment import Assignment
from doorstep.actors.consuming.group_watch import GroupWatch
from doorstep.actors.consuming.offsets import Offsets
from doorstep.actors.holding.holder import Holder
from doorstep.actors.holding.inbox import Inbox, OnPush
from doorstep.actors.holding.poll_subscriber import PollSubscriber
from doorstep.actors.holding.registry import Registry
from doorstep.actors.holding.subscriber import Subscriber
from doorstep.actors.records import Partition
from doorstep.actors.store import contexts, log
from doorstep.actors.store.redis.calls import Script
from doorstep.actors.store.values import Canary
from doorstep.gateway.close_codes import CloseCode


@dataclass(frozen=True, slots=True)
class Mutation:
    """Something broken, and faults that show it."""

    apply: Callable[[], AbstractContextManager[object]]
    kinds: Collection[str]
    first: int = 1
    """The seed to try first: one that has found it. Where it does not any more, all others are tried."""


def _rewritten(module: object, name: str, old: str, new: str) -> AbstractContextManager[object]:
    """A script with another text."""
    script: Script = copy(getattr(module, name))
    assert old in script.text
    script.text = script.text.replace(old, new)
    script.sha = hashlib.sha1(script.text.encode()).hexdigest()
    return patch.object(module, name, script)


def _without_dedupe() -> AbstractContextManager[object]:
    return _rewritten(
        log,
        "_APPEND",
        "if claim(ids, seq + 1, message[i]) then",
        "if claim(ids, seq + 1, message[i]) or 1 then",
    )


def _append_in_any_redis() -> AbstractContextManager[object]:
    return _rewritten(log, "_APPEND", "if has_lost then", "if false then")


def _park_in_any_redis() -> AbstractContextManager[object]:
    return _rewritten(contexts, "_PARK", "if has_lost then", "if false then")


def _register_in_any_redis() -> AbstractContextManager[object]:
    return _rewritten(contexts, "_REGISTER", "if has_lost then", "if false then")


def _overtake_the_parked() -> AbstractContextManager[object]:
    return _rewritten(contexts, "_PARK", "type(user) == 'string' and waiting == 0", "type(user) == 'string'")


def _leave_the_same_canary_again() -> AbstractContextManager[object]:
    return patch.object(rollback_guard, "Canary", _without_its_number)


def _without_its_number(group: str, partition: Partition, checkpoint: int) -> Canary:
    return Canary(group, (partition[0].rpartition(".")[0], partition[1]), checkpoint)


def _commit_what_was_read() -> AbstractContextManager[object]:
    return patch.object(Offsets, "lowest_unacknowledged", Offsets.position)


def _commit_a_flight_that_is_over() -> AbstractContextManager[object]:
    return patch.object(Assignment, "restart", _restart_beside_the_last_flight)


def _restart_beside_the_last_flight(assignment: Assignment) -> None:
    flight = assignment._flight
    offsets, committed = flight._offsets.copy(), flight._committed.copy()
    _restart(assignment)
    flight._offsets, flight._committed = offsets, committed


def _look_for_no_unowned_partitions() -> AbstractContextManager[object]:
    return patch.object(GroupWatch, "look", lambda *_: True)


def _trust_a_new_subscription() -> AbstractContextManager[object]:
    return patch.object(Holder, "_on_subscribed", _do_nothing)


def _do_nothing(_: Holder, _slots: Collection[int]) -> None: ...


def _trust_added_slots() -> AbstractContextManager[object]:
    return patch.object(Holder, "_on_subscribed", _doubt_all_or_none)


def _doubt_all_or_none(holder: Holder, slots: Collection[int]) -> None:
    _subscribed(holder, slots if len(slots) == holder._registry.slots else ())


def _forget_guests_when_homes_move() -> AbstractContextManager[object]:
    return patch.object(Registry, "own", _own_and_no_more)


def _own_and_no_more(registry: Registry[Subscriber], slots: Collection[int]) -> frozenset[int]:
    before = registry.owned
    _own(registry, slots)
    return before - registry.owned


def _push_whatever_comes() -> AbstractContextManager[object]:
    return patch.object(Inbox, "push", _send_what_is_newer)


def _send_what_is_newer(inbox: Inbox, seq: int, _previous: bytes, digest: bytes) -> OnPush:
    if inbox.state != "live" or seq <= inbox.seq:
        return _push(inbox, seq, b"", digest)
    inbox._seq, inbox._digest = seq, digest
    return "send"


def _answer_any_poll_at_a_stop() -> AbstractContextManager[object]:
    return patch.object(PollSubscriber, "close", _answer_with_nothing)


def _answer_with_nothing(poll: PollSubscriber, _code: CloseCode, _after_ms: int = 0) -> None:
    poll._answer(())


_push = Inbox.push
_restart = Assignment.restart
_own = Registry.own
_subscribed = Holder._on_subscribed


MUTATIONS = {
    "append without dedupe": Mutation(_without_dedupe, ("kill consumer",)),
    "append in a Redis that lost writes": Mutation(_append_in_any_redis, ("flush redis",), 2),
    "park in a Redis that lost writes": Mutation(_park_in_any_redis, ("flush redis",), 198),
    "register in a Redis that lost writes": Mutation(_register_in_any_redis, ("flush redis",), 9),
    "leave the same canary again after a loss": Mutation(
        _leave_the_same_canary_again, ("flush redis", "part redis", "cut redis"), 33
    ),
    "let events overtake parked ones": Mutation(
        _overtake_the_parked, ("kill consumer", "freeze consumer"), 2010
    ),
    "answer a first poll without a cursor": Mutation(_answer_any_poll_at_a_stop, ("stop holder",), 3),
    "commit what was read and is not done": Mutation(
        _commit_what_was_read, ("kill consumer", "cut redis"), 78
    ),
    "commit what was done before a loss": Mutation(
        _commit_a_flight_that_is_over,
        ("flush redis", "add consumer", "part kafka", "lose answers"),
        155,
    ),
    "look for no partitions that are nobody's": Mutation(
        _look_for_no_unowned_partitions, ("kill consumer", "add consumer"), 15
    ),
    "look at no head after a new subscription": Mutation(_trust_a_new_subscription, ("cut feeds",)),
    "look at no head of slots that are added": Mutation(_trust_added_slots, ("move homes",), 169),
    "forget guests when homes move": Mutation(_forget_guests_when_homes_move, ("move homes",)),
    "push what does not continue the cursor": Mutation(_push_whatever_comes, ("cut feeds",), 14),
}

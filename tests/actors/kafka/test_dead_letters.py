"""What a dead letter holds, and how it gets smaller."""

import hashlib
import json
from datetime import UTC, datetime, timedelta

import pytest

from doorstep.actors.kafka.dead_letters import DeadLetter, Fault, KeptLetter, Selection, dead_letter, shrunk
from doorstep.actors.records import StoredRecord
from tests.support.records import Consumed

_FAULT = Fault("invalid_json", "decode", "the value isn't JSON", "corr-1", {"place": 17})
_RECORD = Consumed("topic", b"key", b"value", 3, 42, (("theirs", b"1"), ("doorstep-source", b"old")))


def test_it_holds_the_record_and_the_reason() -> None:
    written = dead_letter(_RECORD, _FAULT, now=1_795_000_000.5)
    assert (written.key, written.value) == (b"key", b"value")
    names = [name for name, _ in written.headers]
    assert names == ["theirs", "doorstep-reason", "doorstep-error", "doorstep-source"]
    headers = dict(written.headers)
    assert headers["doorstep-reason"] == b"invalid_json"
    assert headers["doorstep-source"] == b"topic/3/42"
    assert json.loads(headers["doorstep-error"] or b"") == {
        "error_code": "INVALID_JSON",
        "message": "the value isn't JSON",
        "correlation_id": "corr-1",
        "timestamp": "2026-11-18T11:06:40.500000+00:00",
        "service": "doorstep",
        "operation": "decode",
        "details": {"place": 17},
    }


def test_its_smaller_forms_tell_what_was_cut() -> None:
    first, second = shrunk(dead_letter(_RECORD, _FAULT, now=0))
    sha256 = hashlib.sha256(b"value").hexdigest()
    assert first.key == b"key"
    assert json.loads(first.value) == {"size": 5, "sha256": sha256}
    assert dict(first.headers)["theirs"] == b"1"
    assert second.key is None
    assert json.loads(second.value)["key_sha256"] == hashlib.sha256(b"key").hexdigest()
    assert [name for name, _ in second.headers] == ["doorstep-reason", "doorstep-error", "doorstep-source"]


def _kept(letter: DeadLetter) -> KeptLetter:
    return KeptLetter(StoredRecord("dead", 0, 7, letter.key, letter.value, letter.headers), _NOON)


_NOON = datetime(2026, 11, 28, 12, tzinfo=UTC)


def test_what_is_kept_says_where_it_came_from_and_becomes_the_record_again() -> None:
    kept = _kept(dead_letter(_RECORD, _FAULT, now=0))
    assert (kept.place, kept.source, kept.topic) == ("0/7", "topic/3/42", "topic")
    assert (kept.reason, kept.error["message"], kept.obstacle) == (
        "invalid_json",
        "the value isn't JSON",
        None,
    )
    again = kept.replayed()
    assert (again.key, again.value) == (b"key", b"value")
    assert again.headers == (("theirs", b"1"), ("doorstep-replay-of", b"topic/3/42"))


def test_what_was_cut_or_is_not_ours_is_not_replayed() -> None:
    for smaller in shrunk(dead_letter(_RECORD, _FAULT, now=0)):
        assert _kept(smaller).obstacle == "its value was too large to be kept"
    stranger = _kept(DeadLetter(b"key", b"value", (("doorstep-error", b"no JSON"),)))
    assert (stranger.reason, stranger.source, stranger.error) == ("", "", {})
    assert stranger.obstacle == "its source is not known"


@pytest.mark.parametrize(
    ("selection", "expected"),
    [
        (Selection(), True),
        (Selection(reason="invalid_json", topic="topic", since=_NOON), True),
        (Selection(reason="oversized"), False),
        (Selection(topic="other"), False),
        (Selection(since=_NOON + timedelta(seconds=1)), False),
    ],
)
def test_a_selection_has_what_fits_all_of_it(selection: Selection, expected: bool) -> None:
    assert selection.has(_kept(dead_letter(_RECORD, _FAULT, now=0))) is expected


def test_the_smallest_form_is_small_whatever_the_record_is() -> None:
    huge = Consumed("t" * 249, b"k" * 10**6, b"v" * 10**7, 0, 0, (("h" * 10**5, b"x" * 10**6),))
    *_, smallest = shrunk(dead_letter(huge, _FAULT, now=0))
    size = len(smallest.value) + sum(len(name) + len(value or b"") for name, value in smallest.headers)
    assert size < 2000

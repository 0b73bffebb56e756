"""When partitions are nobody's, a member acts, and ever more rarely."""

import pytest

from doorstep.actors.consuming.group_watch import GroupWatch, UnownedPartitionsError

ALL = frozenset(("topic", number) for number in range(8))
LOST = frozenset({("topic", 6), ("topic", 7)})
NOW = 1_700_000_000.0


def looks_until_it_acts(watch: GroupWatch) -> int:
    """How many looks it takes in a new membership."""
    watch.begin()
    for look in range(1, 1000):
        try:
            watch.look(ALL - LOST, ALL, NOW)
        except UnownedPartitionsError:
            return look
    raise AssertionError("it never acts")


def test_what_lasts_is_acted_on_and_has_a_name_until_it_is_over() -> None:
    watch = GroupWatch(10)
    for _ in range(4):
        assert not watch.look(ALL - LOST, ALL, NOW)
        assert watch.faults == {}
    with pytest.raises(UnownedPartitionsError, match="topic/6, topic/7"):
        watch.look(ALL - LOST, ALL, NOW)
    watch.begin()
    for _ in range(9):
        assert watch.faults.keys() == {"topic/6", "topic/7"}
        watch.look(ALL - LOST, ALL, NOW + 1)
    assert {fault.since for fault in watch.faults.values()} == {NOW}
    assert watch.look(ALL, ALL, NOW)
    assert watch.faults == {}


def test_it_acts_ever_more_rarely_where_that_does_not_help_and_soon_again_where_it_did() -> None:
    watch = GroupWatch(10)
    assert [looks_until_it_acts(watch) for _ in range(5)] == [5, 10, 20, 40, 80]
    watch.look(ALL, ALL, NOW)
    assert looks_until_it_acts(watch) == 5


def test_a_long_session_takes_long_to_end() -> None:
    assert [looks_until_it_acts(GroupWatch(session_s)) for session_s in (1, 10, 30)] == [5, 5, 11]


def test_a_moment_is_no_fault() -> None:
    watch = GroupWatch(10)
    for owned in (ALL, None):
        for _ in range(50):
            for _ in range(4):
                watch.look(ALL - LOST, ALL, NOW)
            assert watch.look(owned, ALL, NOW) == (owned is not None)
    for _ in range(50):
        watch.begin()
        for _ in range(4):
            watch.look(ALL - LOST, ALL, NOW)
    assert watch.faults == {}


def test_another_partition_begins_anew() -> None:
    watch = GroupWatch(10)
    for number in range(100):
        watch.look(ALL - LOST, ALL - LOST | {("topic", 100 + number)}, NOW)
    assert watch.faults == {}


def test_who_knows_nothing_looks_on() -> None:
    watch = GroupWatch(10)
    assert not watch.look(None, ALL, NOW)
    assert not watch.look(ALL, frozenset(), NOW)

"""What may be committed, against a model that remembers everything."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from doorstep.actors.consuming.offsets import Offsets

pytestmark = pytest.mark.patient


def test_a_fresh_partition_commits_where_it_starts() -> None:
    offsets = Offsets(7)
    assert (offsets.lowest_unacknowledged, offsets.position) == (7, 7)


def test_the_lowest_unacknowledged_is_committed_however_much_is_done_above_it() -> None:
    offsets = Offsets(0)
    offsets.read(0, 1, 2)
    offsets.acknowledge(1, 2)
    assert (offsets.lowest_unacknowledged, offsets.position) == (0, 3)
    offsets.acknowledge(0)
    assert (offsets.lowest_unacknowledged, offsets.position) == (3, 3)


def test_gaps_of_compaction_and_transactions_are_no_records() -> None:
    offsets = Offsets(0)
    offsets.read(3)
    assert offsets.lowest_unacknowledged == 3
    offsets.read(10)
    offsets.acknowledge(3)
    assert offsets.lowest_unacknowledged == 10
    offsets.acknowledge(10)
    assert offsets.lowest_unacknowledged == 11


def test_what_is_no_record_is_done_once_what_is_before_it_is() -> None:
    offsets = Offsets(0)
    offsets.read(0, 1)
    offsets.skip_to(9)
    assert (offsets.lowest_unacknowledged, offsets.position) == (0, 9)
    offsets.acknowledge(0, 1)
    assert offsets.lowest_unacknowledged == 9
    offsets.skip_to(5)
    assert offsets.lowest_unacknowledged == 9
    offsets.read(9)
    assert (offsets.lowest_unacknowledged, offsets.position) == (9, 10)


def test_an_offset_that_was_read_before_is_refused() -> None:
    offsets = Offsets(0)
    offsets.read(5)
    with pytest.raises(ValueError, match="offset 5 was read"):
        offsets.read(5)


@pytest.mark.parametrize("acknowledged", [(4,), (0, 4), (0, 0), (1,)])
def test_any_other_acknowledgement_is_refused_and_changes_nothing(acknowledged: tuple[int, ...]) -> None:
    offsets = Offsets(0)
    offsets.read(0, 1, 2)
    offsets.acknowledge(1)
    with pytest.raises(ValueError, match="not waiting"):
        offsets.acknowledge(*acknowledged)
    assert offsets.lowest_unacknowledged == 0
    offsets.acknowledge(2, 0)
    assert offsets.lowest_unacknowledged == 3


def test_a_long_partition_is_done_in_any_order() -> None:
    offsets = Offsets(0)
    for start in range(0, 100_000, 500):
        offsets.read(*range(start, start + 500))
        offsets.acknowledge(*reversed(range(start, start + 500)))
    assert offsets.lowest_unacknowledged == 100_000


class OffsetsMachine(RuleBasedStateMachine):
    """Reads with gaps, acknowledges in any order; the model is the list of all records and their state."""

    @initialize(start=st.integers(0, 1 << 62))
    def assign(self, start: int) -> None:
        self.offsets = Offsets(start)
        self.next = start
        self.done: dict[int, bool] = {}
        self.committed = start

    @rule(gaps=st.lists(st.integers(0, 5), min_size=1, max_size=5))
    def read(self, gaps: list[int]) -> None:
        batch = []
        for gap in gaps:
            batch.append(self.next + gap)
            self.next += gap + 1
        self.offsets.read(*batch)
        self.done |= dict.fromkeys(batch, False)

    @precondition(lambda self: not all(self.done.values()))
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        waiting = [offset for offset, done in self.done.items() if not done]
        batch = data.draw(st.lists(st.sampled_from(waiting), min_size=1, max_size=4, unique=True))
        self.offsets.acknowledge(*batch)
        self.done |= dict.fromkeys(batch, True)

    @invariant()
    def agrees_with_the_model(self) -> None:
        waiting = [offset for offset, done in self.done.items() if not done]
        assert self.offsets.position == self.next
        assert self.offsets.lowest_unacknowledged == min(waiting, default=self.next)

    @invariant()
    def what_may_be_committed_never_falls(self) -> None:
        assert self.offsets.lowest_unacknowledged >= self.committed
        self.committed = self.offsets.lowest_unacknowledged


TestOffsetsMachine = OffsetsMachine.TestCase

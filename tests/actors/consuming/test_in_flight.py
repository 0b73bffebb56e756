"""How much may be read, and what may be committed."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.consuming.in_flight import InFlight, Ticket
from doorstep.actors.records import Partition

A, B, CONTEXTS = ("a", 0), ("b", 1), ("contexts", 0)


def flight_of(*partitions: Partition, window: int = 1000, apart: Sequence[str] = ()) -> InFlight:
    flight = InFlight(window=window, apart=apart)
    flight.begin(dict.fromkeys(partitions, 0))
    return flight


def test_event_partitions_share_one_window_and_contexts_have_their_own() -> None:
    flight = flight_of(A, B, CONTEXTS, window=6, apart=["contexts"])
    assert flight.room() == 6
    ticket = flight.read(A, [0, 1, 2])
    assert (flight.room(), flight.room(only_apart=True)) == (3, 6)
    flight.read(B, [0, 1, 2])
    assert (flight.room(), flight.room(only_apart=True)) == (0, 6)
    flight.read(CONTEXTS, range(6))
    assert flight.room(only_apart=True) == 0
    ticket.acknowledge()
    flight.committed({A: 3})
    assert (flight.room(), flight.size) == (0, 9)
    flight.forget({CONTEXTS})
    assert (flight.room(), flight.size) == (3, 3)


def test_the_last_eighth_is_not_read_into() -> None:
    flight = flight_of(A, window=160)
    flight.read(A, range(140)).acknowledge()
    assert flight.room() == 20
    flight.read(A, [140]).acknowledge()
    assert flight.room() == 0
    flight.committed(flight.to_commit())
    assert flight.room() == 160


def test_nothing_is_committed_past_what_is_not_done() -> None:
    flight = flight_of(A)
    first, second = flight.read(A, [0, 1]), flight.read(A, [2, 3])
    second.acknowledge()
    assert flight.to_commit() == {}
    first.acknowledge()
    assert flight.to_commit() == {A: 4}
    flight.committed({A: 4})
    assert flight.to_commit() == {}


def test_held_records_are_acknowledged_later() -> None:
    flight = flight_of(A)
    ticket = flight.read(A, [0, 1, 2, 3])
    assert not ticket.acknowledge({("a", 0, 1), ("a", 0, 3), ("b", 0, 2)})
    assert flight.to_commit() == {A: 1}
    assert not ticket.acknowledge({("a", 0, 3)})
    assert flight.to_commit() == {A: 3}
    assert ticket.acknowledge()
    assert flight.to_commit() == {A: 4}


def test_gaps_count_as_in_flight() -> None:
    flight = flight_of(A, window=50)
    flight.read(A, [0, 50])
    assert (flight.room(), flight.size) == (0, 51)


def test_a_recreated_topic_is_read_anew() -> None:
    flight = InFlight(window=1000)
    flight.begin({A: 100})
    old = flight.read(A, [100, 101])
    new = flight.read(A, [0, 1])
    old.acknowledge()
    assert flight.to_commit() == {}
    new.acknowledge()
    assert flight.to_commit() == {A: 2}
    assert flight.size == 2


def test_what_went_to_others_is_neither_committed_nor_counted() -> None:
    flight = flight_of(A, B)
    gone, kept = flight.read(A, [0, 1]), flight.read(B, [0])
    flight.forget({A})
    gone.acknowledge()
    kept.acknowledge()
    assert flight.to_commit() == {B: 1}
    flight.committed({A: 2, B: 1})
    assert flight.partitions == {B}
    assert flight.size == 0


def test_a_commit_of_a_partition_that_was_begun_anew_meanwhile_counts_for_nothing() -> None:
    flight = flight_of(A)
    flight.read(A, [0, 1, 2]).acknowledge()
    offsets = flight.to_commit()
    flight.begin({A: 1})
    flight.read(A, [1])
    flight.committed(offsets)
    assert flight.size == 1
    assert flight.to_commit() == {}


def test_it_is_tight_when_a_commit_would_make_much_room() -> None:
    flight = flight_of(A, B, window=8)
    flight.read(A, [0]).acknowledge()
    assert not flight.is_tight
    flight.read(B, [0]).acknowledge()
    assert flight.is_tight
    flight.committed({A: 1})
    assert not flight.is_tight


@given(st.data(), st.integers(1, 20))
def test_no_room_is_ever_exceeded_or_lost(data: st.DataObject, window: int) -> None:
    flight, positions = flight_of(A, B, window=window), {A: 0, B: 0}
    whole = flight.room()
    tickets: list[Ticket] = []
    for _ in range(data.draw(st.integers(1, 30))):
        room = flight.room()
        step = data.draw(st.sampled_from(["read", "acknowledge", "commit", "move"]))
        if step == "read" and room:
            partition = data.draw(st.sampled_from([A, B]))
            start, amount = positions[partition], data.draw(st.integers(1, room))
            tickets.append(flight.read(partition, range(start, start + amount)))
            positions[partition] += amount
        elif step == "acknowledge" and tickets:
            tickets.pop(data.draw(st.integers(0, len(tickets) - 1))).acknowledge()
        elif step == "move":
            flight.forget({B})
            flight.begin({B: positions[B]})
        else:
            flight.committed(flight.to_commit())
        assert 0 <= flight.size <= window
    for ticket in tickets:
        ticket.acknowledge()
    flight.committed(flight.to_commit())
    assert flight.room() == whole

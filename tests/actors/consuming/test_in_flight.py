"""How much may be read, and what may be committed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.consuming.in_flight import InFlight, Ticket
from doorstep.actors.records import Partition

pytestmark = pytest.mark.patient

A, B, CONTEXTS = ("a", 0), ("b", 1), ("contexts", 0)


def flight_of(*partitions: Partition, window: int = 1000) -> InFlight:
    flight = InFlight(window=window, apart={"contexts"})
    flight.begin(dict.fromkeys(partitions, 0))
    return flight


def test_all_event_partitions_share_one_window_and_those_of_contexts_another() -> None:
    flight = flight_of(A, B, CONTEXTS, window=6)
    assert (flight.room(), flight.room(only_apart=True)) == (6, 6)
    ticket = flight.read(A, [0, 1, 2])
    assert (flight.room(), flight.room(only_apart=True)) == (3, 6)
    flight.read(B, [0, 1, 2])
    assert (flight.room(), flight.room(only_apart=True)) == (0, 6)
    flight.read(CONTEXTS, [0, 1, 2, 3])
    assert (flight.room(), flight.room(only_apart=True)) == (0, 2)
    ticket.acknowledge()
    flight.committed({A: 3})
    assert (flight.room(), flight.room(only_apart=True)) == (2, 2)


def test_the_last_eighth_is_not_read_into() -> None:
    flight = flight_of(A, B, window=160)
    flight.read(A, range(87)).acknowledge()
    flight.read(B, range(53)).acknowledge()
    assert flight.room() == 20
    flight.read(B, [53]).acknowledge()
    assert flight.room() == 0
    flight.committed(flight.to_commit())
    assert flight.room() == 160


def test_what_is_set_aside_takes_no_room_until_it_is_read_again() -> None:
    flight = flight_of(A, B, CONTEXTS, window=6)
    flight.read(A, [0, 1, 2, 3])
    flight.read(CONTEXTS, [0])
    flight.set_aside([A, CONTEXTS, ("gone", 0)])
    assert (flight.room(), flight.room(only_apart=True), flight.size) == (6, 6, 5)
    flight.set_aside([])
    assert (flight.room(), flight.room(only_apart=True)) == (2, 5)


def test_what_is_done_and_committed_makes_room() -> None:
    flight = flight_of(window=4)
    flight.begin({A: 10, B: 0})
    ticket = flight.read(A, [10, 11, 12, 13])
    assert flight.room() == 0
    ticket.acknowledge()
    assert flight.room() == 0
    assert flight.to_commit() == {A: 14}
    flight.committed({A: 14})
    assert flight.room() == 4
    assert flight.to_commit() == {}


def test_what_is_forgotten_makes_room_and_is_not_committed() -> None:
    flight = flight_of(A, B, window=4)
    ticket = flight.read(A, [0, 1, 2, 3])
    flight.forget([A])
    assert (flight.room(), flight.size) == (4, 0)
    assert flight.partitions == {B}
    ticket.acknowledge()
    assert flight.to_commit() == {}
    assert A not in flight


def test_a_commit_of_an_earlier_time_does_not_count() -> None:
    flight = flight_of(A, B, window=8)
    flight.read(A, [0, 1, 2, 3]).acknowledge()
    offsets = flight.to_commit()
    flight.begin({A: 2})  # while it was on its way
    flight.committed(offsets)
    assert flight.size == 0
    flight.read(A, [2]).acknowledge()
    assert flight.to_commit() == {A: 3}


def test_nothing_is_committed_past_what_is_not_done() -> None:
    flight = flight_of(A, window=10)
    first, second = flight.read(A, [0, 1]), flight.read(A, [2, 3])
    second.acknowledge()
    assert flight.to_commit() == {}
    first.acknowledge()
    assert flight.to_commit() == {A: 4}


def test_held_records_are_acknowledged_later() -> None:
    flight = flight_of(A, window=10)
    ticket = flight.read(A, [0, 1, 2, 3])
    assert not ticket.acknowledge({("a", 0, 1), ("a", 0, 3), ("b", 0, 2)})
    assert flight.to_commit() == {A: 1}
    assert not ticket.acknowledge({("a", 0, 3)})
    assert flight.to_commit() == {A: 3}
    assert ticket.acknowledge()
    assert flight.to_commit() == {A: 4}


def test_gaps_count_as_in_flight() -> None:
    flight = flight_of(A, window=10)
    flight.read(A, [0, 50])
    assert flight.room() == 0
    assert flight.size == 51


def test_a_topic_made_anew_is_read_anew() -> None:
    flight = flight_of()
    flight.begin({A: 100})
    old = flight.read(A, [100, 101])
    new = flight.read(A, [0, 1])
    old.acknowledge()
    assert flight.to_commit() == {}
    new.acknowledge()
    assert flight.to_commit() == {A: 2}
    assert flight.size == 2


def test_it_is_tight_when_a_commit_would_make_much_room() -> None:
    flight = flight_of(A, B, window=8)
    flight.read(A, [0]).acknowledge()
    held = flight.read(B, [0])
    assert not flight.is_tight
    held.acknowledge()
    assert flight.is_tight
    flight.committed({A: 1})
    assert not flight.is_tight


@given(st.data(), st.integers(1, 20))
def test_no_room_is_ever_exceeded_or_lost(data: st.DataObject, window: int) -> None:
    flight, positions = flight_of(A, B, window=window), {A: 0, B: 0}
    tickets: list[Ticket] = []
    for _ in range(data.draw(st.integers(1, 30))):
        step = data.draw(st.sampled_from(["read", "acknowledge", "commit", "begin"]))
        partition = data.draw(st.sampled_from([A, B]))
        if step == "read" and flight.room():
            start, amount = positions[partition], data.draw(st.integers(1, flight.room()))
            tickets.append(flight.read(partition, range(start, start + amount)))
            positions[partition] += amount
        elif step == "acknowledge" and tickets:
            tickets.pop(data.draw(st.integers(0, len(tickets) - 1))).acknowledge()
        elif step == "begin":
            flight.begin({partition: positions[partition]})
        else:
            flight.committed(flight.to_commit())
        assert 0 <= flight.size <= window
    for ticket in tickets:
        ticket.acknowledge()
    flight.committed(flight.to_commit())
    assert flight.room() == window

"""How much may be read, and what may be committed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.in_flight import InFlight, Ticket, TooManyPartitionsError, cap_of

A, B = ("a", 0), ("b", 1)


def test_the_cap_covers_all_partitions_by_the_dedupe_window() -> None:
    assert cap_of(500, 4096, 0) == 500
    assert cap_of(500, 4096, 8) == 500
    assert cap_of(500, 4096, 16) == 256
    assert cap_of(500, 4096, 4096) == 1
    with pytest.raises(TooManyPartitionsError, match="to at least 4097, or add consumers"):
        cap_of(500, 4096, 4097)


def test_what_is_done_and_committed_makes_room() -> None:
    flight = InFlight({A: 10, B: 0}, cap=4)
    ticket = flight.read(A, [10, 11, 12, 13])
    assert flight.rooms() == {B: 4}
    ticket.acknowledge()
    assert flight.rooms() == {B: 4}
    assert flight.to_commit() == {A: 14}
    flight.committed({A: 14})
    assert flight.rooms() == {A: 4, B: 4}
    assert flight.to_commit() == {}


def test_nothing_is_committed_past_what_is_not_done() -> None:
    flight = InFlight({A: 0}, cap=10)
    first, second = flight.read(A, [0, 1]), flight.read(A, [2, 3])
    second.acknowledge()
    assert flight.to_commit() == {}
    first.acknowledge()
    assert flight.to_commit() == {A: 4}


def test_held_records_are_acknowledged_later() -> None:
    flight = InFlight({A: 0}, cap=10)
    ticket = flight.read(A, [0, 1, 2, 3])
    assert not ticket.acknowledge({("a", 0, 1), ("a", 0, 3), ("b", 0, 2)})
    assert flight.to_commit() == {A: 1}
    assert not ticket.acknowledge({("a", 0, 3)})
    assert flight.to_commit() == {A: 3}
    assert ticket.acknowledge()
    assert flight.to_commit() == {A: 4}


def test_gaps_count_as_in_flight() -> None:
    flight = InFlight({A: 0}, cap=10)
    flight.read(A, [0, 50])
    assert flight.rooms() == {}
    assert flight.size == 51


def test_a_topic_made_anew_is_read_anew() -> None:
    flight = InFlight({A: 100}, cap=10)
    old = flight.read(A, [100, 101])
    new = flight.read(A, [0, 1])
    old.acknowledge()
    assert flight.to_commit() == {}
    new.acknowledge()
    assert flight.to_commit() == {A: 2}
    assert flight.reading() == {A: 2}


def test_it_is_tight_when_a_commit_would_make_much_room() -> None:
    flight = InFlight({A: 0, B: 0}, cap=8)
    flight.read(A, [0]).acknowledge()
    assert not flight.is_tight
    flight.read(A, [1]).acknowledge()
    assert flight.is_tight
    flight.committed({A: 2})
    assert not flight.is_tight


@given(st.data(), st.integers(1, 20))
def test_the_room_is_never_exceeded_and_never_lost(data: st.DataObject, cap: int) -> None:
    flight, position = InFlight({A: 0}, cap), 0
    tickets: list[Ticket] = []
    for _ in range(data.draw(st.integers(1, 30))):
        room = flight.rooms().get(A, 0)
        step = data.draw(st.sampled_from(["read", "acknowledge", "commit"]))
        if step == "read" and room:
            amount = data.draw(st.integers(1, room))
            tickets.append(flight.read(A, range(position, position + amount)))
            position += amount
        elif step == "acknowledge" and tickets:
            tickets.pop(data.draw(st.integers(0, len(tickets) - 1))).acknowledge()
        else:
            flight.committed(flight.to_commit())
        assert flight.size <= cap
    for ticket in tickets:
        ticket.acknowledge()
    flight.committed(flight.to_commit())
    assert flight.rooms() == {A: cap}

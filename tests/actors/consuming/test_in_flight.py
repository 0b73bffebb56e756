"""How much may be read, and what may be committed."""

from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.consuming.in_flight import NO_ROOM, InFlight, Room, Ticket
from doorstep.actors.records import Partition

A, B, CONTEXTS = ("a", 0), ("b", 1), ("contexts", 0)


def flight_of(*partitions: Partition, cap: int, window: int = 1000) -> InFlight:
    return InFlight(dict.fromkeys(partitions, 0), cap=cap, window=window)


def test_all_event_partitions_share_one_window() -> None:
    flight = InFlight({A: 0, B: 0, CONTEXTS: 0}, cap=4, window=6, apart={"contexts"})
    assert flight.room() == Room({A: 4, B: 4, CONTEXTS: 4}, 6)
    ticket = flight.read(A, [0, 1, 2])
    assert flight.room() == Room({A: 1, B: 4, CONTEXTS: 4}, 3)
    flight.read(B, [0, 1, 2])
    assert flight.room() == Room({CONTEXTS: 4}, 4)
    flight.read(CONTEXTS, [0, 1, 2, 3])
    assert flight.room() == NO_ROOM
    ticket.acknowledge()
    flight.committed({A: 3})
    assert flight.room() == Room({A: 4, B: 1}, 3)


def test_the_last_eighth_is_not_read_into() -> None:
    flight = flight_of(A, B, cap=100, window=160)
    flight.read(A, range(87))
    assert flight.room() == Room({A: 13, B: 100}, 73)
    flight.read(A, [87])
    assert flight.room() == Room({B: 100}, 72)
    flight.read(B, range(52)).acknowledge()
    assert flight.room() == Room({B: 48}, 20)
    flight.read(B, [52]).acknowledge()
    assert flight.room().of == {}
    flight.committed(flight.to_commit())
    assert flight.room() == Room({B: 100}, 72)


def test_what_is_done_and_committed_makes_room() -> None:
    flight = InFlight({A: 10, B: 0}, cap=4, window=1000)
    ticket = flight.read(A, [10, 11, 12, 13])
    assert flight.room().of == {B: 4}
    ticket.acknowledge()
    assert flight.room().of == {B: 4}
    assert flight.to_commit() == {A: 14}
    flight.committed({A: 14})
    assert flight.room().of == {A: 4, B: 4}
    assert flight.to_commit() == {}


def test_nothing_is_committed_past_what_is_not_done() -> None:
    flight = flight_of(A, cap=10)
    first, second = flight.read(A, [0, 1]), flight.read(A, [2, 3])
    second.acknowledge()
    assert flight.to_commit() == {}
    first.acknowledge()
    assert flight.to_commit() == {A: 4}


def test_held_records_are_acknowledged_later() -> None:
    flight = flight_of(A, cap=10)
    ticket = flight.read(A, [0, 1, 2, 3])
    assert not ticket.acknowledge({("a", 0, 1), ("a", 0, 3), ("b", 0, 2)})
    assert flight.to_commit() == {A: 1}
    assert not ticket.acknowledge({("a", 0, 3)})
    assert flight.to_commit() == {A: 3}
    assert ticket.acknowledge()
    assert flight.to_commit() == {A: 4}


def test_gaps_count_as_in_flight() -> None:
    flight = flight_of(A, cap=10)
    flight.read(A, [0, 50])
    assert flight.room().of == {}
    assert flight.size == 51


def test_a_topic_made_anew_is_read_anew() -> None:
    flight = InFlight({A: 100}, cap=10, window=1000)
    old = flight.read(A, [100, 101])
    new = flight.read(A, [0, 1])
    old.acknowledge()
    assert flight.to_commit() == {}
    new.acknowledge()
    assert flight.to_commit() == {A: 2}
    assert flight.reading() == {A: 2}


def test_it_is_tight_when_a_commit_would_make_much_room() -> None:
    flight = flight_of(A, B, cap=8)
    flight.read(A, [0]).acknowledge()
    assert not flight.is_tight
    flight.read(A, [1]).acknowledge()
    assert flight.is_tight
    flight.committed({A: 2})
    assert not flight.is_tight


def test_it_is_tight_when_many_partitions_fill_the_window_together() -> None:
    flight = flight_of(A, B, cap=100, window=8)
    flight.read(A, [0]).acknowledge()
    assert not flight.is_tight
    flight.read(B, [0]).acknowledge()
    assert flight.is_tight


@given(st.data(), st.integers(1, 12), st.integers(1, 20))
def test_no_room_is_ever_exceeded_or_lost(data: st.DataObject, cap: int, window: int) -> None:
    flight, positions = flight_of(A, B, cap=cap, window=window), {A: 0, B: 0}
    whole = flight.room()
    tickets: list[Ticket] = []
    for _ in range(data.draw(st.integers(1, 30))):
        room = flight.room()
        step = data.draw(st.sampled_from(["read", "acknowledge", "commit"]))
        if step == "read" and room.of:
            partition = data.draw(st.sampled_from(sorted(room.of)))
            amount = data.draw(st.integers(1, min(room.of[partition], room.total)))
            start = positions[partition]
            tickets.append(flight.read(partition, range(start, start + amount)))
            positions[partition] += amount
        elif step == "acknowledge" and tickets:
            tickets.pop(data.draw(st.integers(0, len(tickets) - 1))).acknowledge()
        else:
            flight.committed(flight.to_commit())
        assert flight.size <= min(2 * cap, window)
    for ticket in tickets:
        ticket.acknowledge()
    flight.committed(flight.to_commit())
    assert flight.room() == whole

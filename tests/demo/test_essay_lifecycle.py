"""A file gets an essay of its batch, once."""

from doorstep.demo.essay_lifecycle import Assigned, Content, Excess, Slots
from doorstep.demo.wire import Trace

TRACE = Trace("0b8f3a52-8d2f-4e0c-9a1d-2f1f5a0b7c11")


def content(file: str, batch: str = "b") -> Content:
    return Content(batch, file, f"{file}.txt", "0" * 32, TRACE)


def test_files_get_the_essays_of_their_batch_in_order() -> None:
    slots = Slots()
    slots.register("b", ["e1", "e2"])
    slots.register("other", ["x1"])
    assert slots.place(content("f1")) == Assigned(content("f1"), "e1")
    assert slots.place(content("f9", "other")) == Assigned(content("f9", "other"), "x1")
    assert slots.place(content("f2")) == Assigned(content("f2"), "e2")


def test_a_file_too_many_is_excess() -> None:
    slots = Slots()
    slots.register("b", ["e1"])
    slots.place(content("f1"))
    assert slots.place(content("f2")) == Excess(content("f2"))


def test_the_same_file_again_keeps_its_essay() -> None:
    slots = Slots()
    slots.register("b", ["e1", "e2"])
    first = slots.place(content("f1"))
    assert slots.place(content("f1")) == first
    assert slots.place(content("f2")) == Assigned(content("f2"), "e2")


def test_files_wait_for_their_batch() -> None:
    slots = Slots()
    assert slots.place(content("f1")) is None
    assert slots.place(content("f2")) is None
    assert slots.register("b", ["e1"]) == [Assigned(content("f1"), "e1"), Excess(content("f2"))]


def test_a_batch_is_registered_once() -> None:
    slots = Slots()
    slots.register("b", ["e1", "e2"])
    slots.place(content("f1"))
    assert slots.register("b", ["e1", "e2"]) == []
    assert slots.place(content("f2")) == Assigned(content("f2"), "e2")

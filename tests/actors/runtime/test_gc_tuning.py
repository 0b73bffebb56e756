"""The garbage collector leaves alone what an actor has loaded, and still collects what comes later."""

import gc
import weakref
from collections.abc import Iterator

import pytest

from doorstep.actors.runtime.gc_tuning import collect_rarely


class Node:
    """Something that can be part of a cycle."""

    itself: "Node"


@pytest.fixture(autouse=True)
def _restored() -> Iterator[None]:
    thresholds = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)


def test_it_looks_at_new_objects_only_and_rarely() -> None:
    gc.set_threshold(700, 10, 10)
    collect_rarely()
    assert gc.get_freeze_count() > 1000
    assert gc.get_threshold()[0] > 700


def test_cycles_are_still_collected() -> None:
    collect_rarely()
    node = Node()
    node.itself = node
    there = weakref.ref(node)
    del node
    gc.collect()
    assert there() is None

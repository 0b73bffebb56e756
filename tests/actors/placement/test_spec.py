"""What an operator wants: read, changed and restored."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.placement.spec import Spec, SpecError, agreed, differences, restored

pytestmark = pytest.mark.patient

SPECS = st.builds(
    Spec,
    fleet=st.sampled_from(["one", "another"]),
    holders=st.integers(1, 256),
    consumers=st.integers(1, 9),
    digest=st.sampled_from(["d1", "d2"]),
    version=st.sampled_from(["1", "2"]),
    generation=st.integers(1, 1 << 40),
    edition=st.integers(1, 3),
    draining=st.dictionaries(st.text(max_size=9), st.floats(0, 4e9)),
)
FOUND = st.none() | SPECS


@given(SPECS)
def test_what_is_read_is_what_was_written(spec: Spec) -> None:
    assert Spec.decode(spec.encode()) == spec


@given(st.binary() | st.sampled_from([b"{}", b"[]", b"1", b'{"format":1}', b'{"format":1,"holders":0}']))
def test_anything_else_is_no_spec(record: bytes) -> None:
    with pytest.raises(SpecError, match="can't be read"):
        Spec.decode(record)


def test_the_record_of_a_newer_doorstep_is_told_as_such() -> None:
    with pytest.raises(SpecError, match="format 2, this Doorstep knows 1"):
        Spec.decode(b'{"format":2,"holders":{"small":1}}')


@pytest.mark.parametrize("numbers", [{"holders": 0}, {"holders": 257}, {"holders": -1}, {"consumers": 0}])
def test_numbers_that_cannot_be_are_refused(numbers: dict[str, int]) -> None:
    with pytest.raises(SpecError, match=r"not (0|257|-1)"):
        Spec("here", 1, 1, "d", "1").changed(**numbers)


@given(SPECS, st.integers(1, 256))
def test_a_change_is_the_next_generation_and_no_change_is_none(spec: Spec, holders: int) -> None:
    changed = spec.changed(holders=holders)
    assert changed.generation == spec.generation + (holders != spec.holders)
    assert replace(changed, holders=spec.holders, generation=spec.generation) == spec


@given(FOUND, SPECS)
def test_what_was_lost_is_restored_and_what_is_newer_stays(found: Spec | None, known: Spec) -> None:
    spec = restored(found, known)
    assert spec.fleet == known.fleet
    assert spec.generation >= known.generation
    if found is None:
        assert spec == known
    elif found.fleet == known.fleet and found.edition >= known.edition:
        assert spec in (found, known)
    else:
        assert spec.generation > found.generation
    assert restored(spec, known) == spec


@given(FOUND, SPECS, st.booleans())
def test_who_goes_on_with_a_fleet_leaves_its_numbers_unless_told_otherwise(
    found: Spec | None, ours: Spec, with_numbers: bool
) -> None:
    spec = agreed(found, ours, with_numbers=with_numbers)
    assert spec.fleet == ours.fleet
    assert (spec.digest, spec.version, spec.edition) == (ours.digest, ours.version, ours.edition)
    is_theirs = found is not None and found.fleet == ours.fleet and found.generation >= ours.generation
    numbers = found if is_theirs and not with_numbers else ours
    assert numbers is not None
    assert (spec.holders, spec.consumers) == (numbers.holders, numbers.consumers)
    assert agreed(spec, ours, with_numbers=with_numbers) == spec


def test_what_differs_is_told_in_lines() -> None:
    found = Spec("here", 4, 2, "d1", "1")
    assert list(differences(found, replace(found, generation=9))) == []
    assert list(differences(found, replace(found, holders=1, digest="d2"))) == [
        "digest: d1 in force, d2 wanted",
        "holders: 4 in force, 1 wanted",
    ]

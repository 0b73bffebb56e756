"""What is written beside each commit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.actors.consuming.commit_metadata import CommitMetadata, MetadataError, read_metadata

pytestmark = pytest.mark.patient

ID = "0123456789abcdef"


@given(st.from_regex(r"[\w-]{0,22}", fullmatch=True).filter(str.isascii), st.integers(0, 2**63 - 1))
def test_it_is_read_as_it_was_written(topic_id: str, rebuilt_to: int) -> None:
    written = CommitMetadata(ID, topic_id, rebuilt_to)
    assert read_metadata(str(written)) == written
    assert len(str(written)) < 256


@pytest.mark.parametrize("text", [None, "", "NoMetadata", "offset-reset 2026", " doorstep/1"])
def test_a_persons_commit_has_none(text: str | None) -> None:
    assert read_metadata(text) is None


@pytest.mark.parametrize("text", [f"doorstep/2 {ID} x 0", "doorstep/1", f"doorstep/1 {ID} x -1"])
def test_a_newer_doorsteps_is_refused(text: str) -> None:
    with pytest.raises(MetadataError, match="run that version"):
        read_metadata(text)

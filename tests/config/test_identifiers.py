"""User and batch ids become parts of Redis keys: which ones may."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from doorstep.config.identifiers import MAX_IDENTIFIER_BYTES, identifier_fault


@pytest.mark.parametrize(
    "text",
    ["u", "teacher-1", "0d5c2a3e-0000-4000-8000-000000000000", "Åsa", "a:b", "x" * 256, "å" * 128, "🎓" * 64],
)
def test_an_id_of_1_to_256_bytes_is_good(text: str) -> None:
    assert identifier_fault(text) is None


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "empty"),
        ("x" * 257, "longer"),
        ("å" * 128 + "x", "longer"),
        ("🎓" * 65, "longer"),
        ("a\nb", "control"),
        ("a\x00", "control"),
        ("\x7f", "control"),
        ("\x85", "control"),
        ("{s1}", "braces"),
        ("a}", "braces"),
        ("\ud800", "surrogate"),
    ],
)
def test_other_ids_are_refused_with_the_reason(text: str, fault: str) -> None:
    assert fault in (identifier_fault(text) or "")


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="{}"), min_size=1))
def test_only_the_length_in_bytes_decides_for_clean_text(text: str) -> None:
    assert (identifier_fault(text) is None) == (len(text.encode()) <= MAX_IDENTIFIER_BYTES)

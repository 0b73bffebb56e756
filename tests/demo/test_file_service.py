"""What is an essay, and what is not; and what is stored stays."""

from itertools import islice
from pathlib import Path

import pytest

from doorstep.demo.file_service import MAX_FILE_BYTES, ContentStore, InvalidFileError, essay_text, upload_ids


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"one word", "one word"),
        ("Ärlig text, 李娜".encode(), "Ärlig text, 李娜"),
        ("﻿with a byte order mark".encode(), "with a byte order mark"),
        (b"a" * MAX_FILE_BYTES, "a" * MAX_FILE_BYTES),
    ],
)
def test_utf8_text_is_an_essay(content: bytes, text: str) -> None:
    assert essay_text(content) == text


@pytest.mark.parametrize(
    ("content", "code", "reason"),
    [
        (b"", "EMPTY_CONTENT", "no text"),
        (b" \n\t\r\n", "EMPTY_CONTENT", "no text"),
        (b"\xef\xbb\xbf", "EMPTY_CONTENT", "no text"),
        (b"ab\xffcd", "TEXT_EXTRACTION_FAILED", "byte 3 "),
        (b"PK\x03\x04\x00\x00", "TEXT_EXTRACTION_FAILED", "zero bytes"),
        ("Ärlig".encode("utf-16"), "TEXT_EXTRACTION_FAILED", "UTF-8"),
        (b"a" * (MAX_FILE_BYTES + 1), "CONTENT_TOO_LONG", "1 MiB"),
    ],
)
def test_anything_else_is_refused_with_a_reason(content: bytes, code: str, reason: str) -> None:
    with pytest.raises(InvalidFileError, match=reason) as refusal:
        essay_text(content)
    assert refusal.value.code == code


async def test_what_is_stored_can_be_had_again(tmp_path: Path) -> None:
    store = ContentStore(tmp_path)
    ids = [await store.put(content) for content in (b"one", b"two", b"one")]
    assert [await store.get(one) for one in ids] == [b"one", b"two", b"one"]
    assert all(len(one) == 32 and int(one, 16) >= 0 for one in ids)


def test_a_request_with_a_key_is_repeated_with_the_ids_of_the_first_time() -> None:
    def ids(user: str, key: str | None) -> list[str]:
        return list(islice(upload_ids(user, key), 3))

    assert ids("u", "k") == ids("u", "k")
    different = [*ids("u", "k"), *ids("u", "other"), *ids("somebody", "k"), *ids("u", None), *ids("u", None)]
    assert len(set(different)) == 15

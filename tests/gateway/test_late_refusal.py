"""Refusals after the 101: for whoever asks for them, and each as a close code."""

import pytest
from websockets.frames import Close

from doorstep.gateway.late_refusal import is_late, late_refusal
from doorstep.gateway.problem import PHRASES, Problem


@pytest.mark.parametrize(
    ("query", "late"),
    [
        ("refuse=late", True),
        ("cursor=1-0123456789abcdef&refuse=late", True),
        ("refuse=late&refuse=soon", True),
        ("", False),
        ("refuse=", False),
        ("refuse=soon", False),
        ("cursor=refuse=late", False),
        ("&".join(["x=1"] * 60) + "&refuse=late", False),
    ],
)
def test_who_asks_for_it(query: str, late: bool) -> None:
    assert is_late(query) == late


@pytest.mark.parametrize(
    ("status", "code"), [(400, 4009), (401, 4001), (403, 4003), (429, 4008), (503, 1013)]
)
def test_a_problem_becomes_a_close_code(status: int, code: int) -> None:
    assert status in PHRASES
    answer = late_refusal("HTTP/1.1 101 Switching Protocols\r\n\r\n", Problem(status, "some_code", "text"))
    head, _, frame = answer.partition(b"\r\n\r\n")
    assert head == b"HTTP/1.1 101 Switching Protocols"
    assert frame[:2] == bytes([0x88, len(frame) - 2])
    assert Close.parse(frame[2:]) == Close(code, "some_code")

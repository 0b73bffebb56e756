"""WebSocket frames (RFC 6455) as a benchmark's client needs them: next to nothing, and next to no time.

Servers' frames are taken as they come, unfragmented and without extensions; that a server keeps to the
protocol is for conformance tests to show.
"""

from collections.abc import Sequence
from enum import IntEnum


class Opcode(IntEnum):
    """What a frame is."""

    TEXT = 0x1
    CLOSE = 0x8
    PING = 0x9
    PONG = 0xA


FINAL_TEXT = 0x80 | Opcode.TEXT
"""First byte of a text frame that is not fragmented."""

Frame = tuple[int, bytes]
"""Opcode and payload."""

_BITS16 = 126
_BITS64 = 127


def split_frames(data: bytes) -> tuple[Sequence[Frame], bytes]:
    """The complete frames of a server at the start of `data`, and the bytes that are left."""
    frames: list[Frame] = []
    at = 0
    while (extent := _extent(data, at)) is not None:
        start, end = extent
        if end > len(data):
            break
        frames.append((data[at] & 0x0F, data[start:end]))
        at = end
    return frames, data[at:]


def client_frame(opcode: Opcode, payload: bytes) -> bytes:
    """One frame of a client. Its masking key is zero: allowed, and masking costs nothing then."""
    size = len(payload)
    if size < _BITS16:
        head = bytes((0x80 | opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((0x80 | opcode, 0x80 | _BITS16)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x80 | opcode, 0x80 | _BITS64)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + payload


def _extent(data: bytes, at: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `at` starts and ends; None while its head is not complete."""
    left = len(data) - at
    if left < 2:
        return None
    size, start = data[at + 1] & 0x7F, at + 2
    if size >= _BITS16:
        start += 2 if size == _BITS16 else 8
        if start > len(data):
            return None
        size = int.from_bytes(data[at + 2 : start], "big")
    return start, start + size

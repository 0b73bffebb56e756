"""Frames as pure values: what is read does not depend on how it came, and nothing else ever happens."""

import random

import pytest
from websockets.frames import Frame as TheirFrame
from websockets.frames import Opcode

from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.frames import (
    CLOSE,
    CONT,
    PING,
    TEXT,
    Frame,
    FrameError,
    Message,
    check_close,
    close_frame,
    control_frame,
    message_of,
    read_frame,
    text_frame,
)
from tests.gateway.wire import frame
from tests.support.fuzz import fuzz

pytestmark = pytest.mark.patient

MAX = 300


@pytest.mark.parametrize("size", [0, 1, 2, 3, 4, 5, 125, 126, 127, 65535, 65536])
@pytest.mark.parametrize("start", [0, 3])
def test_a_frame_is_read_wherever_it_begins(size: int, start: int) -> None:
    payload = bytes(number % 251 for number in range(size))
    data = b"..."[:start] + frame(TEXT, payload) + b"more"
    assert read_frame(data, start, 1 << 20) == (Frame(TEXT, payload, True), len(data) - 4)


def test_a_clients_frames_are_read_as_it_masked_them() -> None:
    for _ in range(50):
        data = TheirFrame(Opcode.TEXT, b"whatever was sent").serialize(mask=True)
        assert read_frame(data, 0, MAX) == (Frame(TEXT, b"whatever was sent", True), len(data))


@pytest.mark.parametrize("size", [0, 125, 126, 65535, 65536])
def test_text_is_framed_as_others_do_it(size: int) -> None:
    assert text_frame(b"x" * size) == TheirFrame(Opcode.TEXT, b"x" * size).serialize(mask=False)


def test_control_frames_are_framed_as_others_do_it() -> None:
    assert control_frame(PING, b"x" * 125) == TheirFrame(Opcode.PING, b"x" * 125).serialize(mask=False)
    assert close_frame(CloseCode.GOING_AWAY, "é" * 100) == control_frame(
        CLOSE, b"\x03\xe9" + b"\xc3\xa9" * 61
    )


@pytest.mark.parametrize(
    "data", [frame(TEXT, b"x" * 200), frame(TEXT, b"x" * 70_000), frame(CLOSE, b"\x03\xe8")]
)
def test_a_frame_is_waited_for_up_to_its_last_byte(data: bytes) -> None:
    cuts = {*range(20), len(data) // 2, len(data) - 1}
    assert {read_frame(data[:cut], 0, 1 << 20) for cut in cuts if cut < len(data)} == {None}


def test_what_is_too_long_is_refused_by_its_header() -> None:
    with pytest.raises(FrameError) as caught:
        read_frame(b"\x81\xfe\x01\x2d", 0, MAX)
    assert caught.value.code == CloseCode.MESSAGE_TOO_BIG


@pytest.mark.parametrize(
    "code", [0, *range(995, 1020), 1100, 2000, 2999, 3000, 3999, 4000, 4999, 5000, 65535]
)
def test_only_codes_of_the_registry_and_private_ones_may_be_sent(code: int) -> None:
    payload = code.to_bytes(2) + b"why"
    if code in {1000, 1001, 1002, 1003, *range(1007, 1015)} or 3000 <= code < 5000:
        check_close(payload)
    else:
        with pytest.raises(FrameError):
            check_close(payload)


def read_all(pieces: list[bytes]) -> tuple[list[Frame], list[tuple[int, bytes]], CloseCode | None]:
    """Frames, whole messages, and what they ended with, of bytes that come in pieces."""
    frames: list[Frame] = []
    messages: list[tuple[int, bytes]] = []
    begun: Message | None = None
    received = b""
    try:
        for piece in pieces:
            received += piece
            while (read := read_frame(received, 0, MAX)) is not None:
                one, end = read
                received = received[end:]
                frames.append(one)
                if one.opcode == CLOSE:
                    check_close(one.payload)
                elif one.opcode < CLOSE:
                    begun = message_of(one, begun)
                    if one.fin:
                        messages.append((begun.opcode, bytes(begun.data)))
                        begun = None
    except FrameError as error:
        return frames, messages, error.code
    return frames, messages, None


def random_frames(chance: random.Random) -> bytes:
    parts = []
    for _ in range(chance.randrange(1, 5)):
        opcode = chance.choice((TEXT, TEXT, CONT, PING, CLOSE, chance.randrange(16)))
        payload = chance.choice(
            (b"", b"text", b"\x03\xe8", "é".encode(), chance.randbytes(chance.randrange(140)))
        )
        part = bytearray(frame(opcode, payload, fin=chance.random() < 0.8))
        if chance.random() < 0.1:
            part[chance.randrange(len(part))] = chance.randrange(256)
        parts.append(bytes(part))
    return b"".join(parts)


@pytest.mark.fuzz
@pytest.mark.usefixtures("without_coverage")
def test_random_frames_are_read_alike_however_they_are_cut() -> None:
    ends = set()
    for chance in fuzz():
        data = random_frames(chance)
        whole = read_all([data])
        cut = chance.randrange(len(data) + 1)
        assert read_all([data[:cut], data[cut:]]) == whole
        assert all(opcode != TEXT or message.decode() is not None for opcode, message in whole[1])
        ends.add(whole[2])
    assert ends == {None, CloseCode.PROTOCOL_ERROR, CloseCode.MESSAGE_TOO_BIG, CloseCode.INVALID_DATA}

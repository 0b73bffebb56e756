"""WebSocket frames (RFC 6455, 5): from a client's bytes, and to bytes for it. Pure.

Reading a frame keeps no state. What has come of an incomplete one stays with its connection, and is read
again from its first byte when there is more: nothing that has seen a byte of one connection serves another.
"""

import codecs
import struct
from typing import Final, NamedTuple

from doorstep.gateway.close_codes import CloseCode

CONT: Final = 0x0
TEXT: Final = 0x1
BINARY: Final = 0x2
CLOSE: Final = 0x8
PING: Final = 0x9
PONG: Final = 0xA
_OPCODES = frozenset({CONT, TEXT, BINARY, CLOSE, PING, PONG})

MAX_CONTROL_BYTES = 125
MAX_REASON_BYTES = MAX_CONTROL_BYTES - 2
_RESERVED_BITS, _FIN, _MASKED = 0x70, 0x80, 0x80
_CLOSE_CODES = frozenset({*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)})
"""Those that an endpoint may send (RFC 6455, 7.4, and the registry that it began)."""

_utf8_decoder = codecs.getincrementaldecoder("utf-8")


class FrameError(Exception):
    """The client broke the protocol; `code` is what its connection is closed with."""

    def __init__(self, code: CloseCode, reason: str) -> None:
        super().__init__(reason)
        self.code = code


class Frame(NamedTuple):
    """One frame, unmasked."""

    opcode: int
    payload: bytes
    fin: bool


def read_frame(data: bytes, start: int, max_size: int) -> tuple[Frame, int] | None:
    """The frame at `start` and where it ends; None while it is incomplete. Raises `FrameError`.

    A text or binary frame has at most `max_size` bytes of payload: a longer one is refused by its header.
    """
    if len(data) < start + 2:
        return None
    first, second, position = data[start], data[start + 1], start + 2
    opcode, size = first & 0x0F, second & 0x7F
    _check_header(first, opcode, second)
    if size > MAX_CONTROL_BYTES:
        long_size = 2 if size == 126 else 8
        if len(data) < position + long_size:
            return None
        size = int.from_bytes(data[position : position + long_size])
        position += long_size
    if size > max_size and opcode < CLOSE:
        raise FrameError(CloseCode.MESSAGE_TOO_BIG, "the message is longer than is allowed")
    begin = position + 4
    end = begin + size
    if len(data) < end:
        return None
    payload = _unmasked(data[begin:end], data[position:begin])
    return Frame(opcode, payload, bool(first & _FIN)), end


def _check_header(first: int, opcode: int, second: int) -> None:
    if first & _RESERVED_BITS:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "reserved bits must be 0")
    if opcode not in _OPCODES:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "the opcode is reserved")
    if not second & _MASKED:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a client's frames must be masked")
    if opcode >= CLOSE and (not first & _FIN or second & 0x7F > MAX_CONTROL_BYTES):
        raise FrameError(CloseCode.PROTOCOL_ERROR, "a control frame is short and whole")


def _unmasked(data: bytes, key: bytes) -> bytes:
    """RFC 6455, 5.3, on one large number: nothing else is as fast without leaving Python."""
    size = len(data)
    mask = (key * (size // 4 + 1))[:size]
    return (int.from_bytes(data) ^ int.from_bytes(mask)).to_bytes(size)


class Message:
    """What frames make up: a text, checked as far as it has come, or binary data."""

    __slots__ = ("_decoder", "data", "opcode")

    def __init__(self, opcode: int) -> None:
        self.opcode = opcode
        self.data = bytearray()
        self._decoder = _utf8_decoder() if opcode == TEXT else None

    def add(self, frame: Frame) -> None:
        """Append a frame's payload; raises `FrameError` once the text can't become valid UTF-8."""
        if self._decoder is not None:
            try:
                self._decoder.decode(frame.payload, frame.fin)
            except UnicodeDecodeError as exc:
                raise FrameError(CloseCode.INVALID_DATA, "the text is not UTF-8") from exc
        self.data += frame.payload


def message_of(frame: Frame, begun: Message | None) -> Message:
    """The message that a frame of data begins, or continues; raises `FrameError`."""
    if frame.opcode == CONT and begun is None:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "there is no message to continue")
    if frame.opcode != CONT and begun is not None:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "the message before is not finished")
    message = begun or Message(frame.opcode)
    message.add(frame)
    return message


def check_close(payload: bytes) -> None:
    """Whether this may stand in a close frame (RFC 6455, 5.5.1); raises `FrameError`."""
    if not payload:
        return
    if len(payload) == 1 or int.from_bytes(payload[:2]) not in _CLOSE_CODES:
        raise FrameError(CloseCode.PROTOCOL_ERROR, "the close frame has no valid code")
    try:
        payload[2:].decode()
    except UnicodeDecodeError as exc:
        raise FrameError(CloseCode.INVALID_DATA, "the close frame's reason is not UTF-8") from exc


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented text frame, to be sent to any number of sockets."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", _FIN | TEXT, size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", _FIN | TEXT, 126, size)
    else:
        header = struct.pack("!BBQ", _FIN | TEXT, 127, size)
    return header + payload


def control_frame(opcode: int, payload: bytes = b"") -> bytes:
    """A ping, pong or close; at most 125 bytes of payload."""
    return bytes((_FIN | opcode, len(payload))) + payload


def close_frame(code: CloseCode, reason: str = "") -> bytes:
    """A close frame; what the reason has beyond 123 bytes of UTF-8 is left out."""
    shortened = reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")
    return control_frame(CLOSE, struct.pack("!H", code) + shortened.encode())

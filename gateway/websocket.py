"""A WebSocket on a plain TCP connection, made small: the I/O around the protocol of `websockets`.

An idle socket keeps no parser. Between two messages a parser holds nothing that belongs to its connection, so
sockets borrow one from their limits while bytes arrive and give it back when they are at rest.
"""

import asyncio
import codecs
import logging
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from websockets.frames import Frame, Opcode
from websockets.protocol import State
from websockets.server import ServerProtocol

from doorstep.gateway.close_codes import CloseCode

CLOSE_TIMEOUT_S = 5.0
MAX_REASON_BYTES = 123
MAX_EARLY_BYTES = 16 * 1024
MAX_IDLE_PARSERS = 32
_PING = b"\x89\x00"
_PONG = b"\x8a\x80"
"""Before the four bytes of its mask, which mask nothing."""
_PONG_BYTES = 6

_PARSER_LOG = logging.Logger("doorstep.gateway.websocket", logging.WARNING)
_PARSER_LOG.parent = logging.getLogger()


class SocketEvents(Protocol):
    """What a socket tells its owner. No call raises; `on_closed` is the last one and comes exactly once."""

    def on_text(self, data: bytes) -> None:
        """A whole text message, valid UTF-8, at most `max_frame_bytes` long."""

    def on_blocked(self) -> None:
        """The client reads too slowly: `write_buffer_bytes` are waiting."""

    def on_drained(self) -> None:
        """The client caught up with what was waiting."""

    def on_closed(self) -> None:
        """The connection is gone."""


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """Limits of a socket, one object for all of them; seconds and bytes."""

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 5.0
    write_buffer_bytes: int = 256 * 1024
    max_frame_bytes: int = 4096
    _parsers: "list[_Parser]" = field(default_factory=list, init=False, repr=False, compare=False)


# Words, not an Enum: this is compared for every frame, where looking up a member would cost the most.
_State = Literal["new", "open", "closing"]


class WebSocket(asyncio.Protocol):
    """One client connection: `accept` it once it is connected, `send` frames, `close` it.

    Before it is accepted `send` does nothing and `close` cuts it off; once it is closing both do nothing.
    """

    __slots__ = ("_early", "_events", "_heard", "_limits", "_parser", "_state", "_timer", "_transport")

    def __init__(self, events: SocketEvents, limits: SocketLimits) -> None:
        self._events = events
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._parser: _Parser | None = None
        self._early = b""
        self._timer: asyncio.TimerHandle | None = None
        self._heard = False
        self._state: _State = "new"

    # What the owner calls.

    def accept(self, answer: str, early: bytes = b"") -> None:
        """Send the 101 and go on with the bytes that followed the upgrade request."""
        if self._state != "new":
            return
        self._state = "open"
        self._write(answer.encode("ascii"))
        self._arm(self._limits.ping_interval_s, self._ping)
        rest, self._early = early + self._early, b""
        if rest:
            self.data_received(rest)

    def send(self, frame: bytes) -> None:
        """Send a frame built by `text_frame`, or several of them joined."""
        if self._state == "open" and self._transport is not None:
            self._transport.write(frame)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Start the closing handshake; a client that does not answer within 5 s is cut off.

        `reason` is at most 123 bytes of UTF-8 (RFC 6455, 5.5); the rest of a longer one is left out.
        """
        if self._state == "new":
            self.abort()
        elif self._state == "open":
            parser = self._borrow()
            parser.send_close(code, _shortened(reason))
            self._state = "closing"
            self._flush(parser)
            self._arm(CLOSE_TIMEOUT_S, self.abort)

    def abort(self) -> None:
        """Cut the connection off without a word."""
        self._state = "closing"
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    # Any: uvloop's transports have the methods of asyncio.Transport, but do not derive from it.
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes)
        if self._state == "closing":
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        if self._state == "new":
            self._hold(data)
            return
        if len(data) == _PONG_BYTES and data.startswith(_PONG) and self._parser is None:
            return  # the answer to a ping, which is most of what an idle client says: nothing to parse
        parser = self._borrow()
        parser.receive_data(data)
        self._flush(parser)
        if parser.is_at_rest():
            self._give_back(parser)

    def pause_writing(self) -> None:
        # Who does not read gets no more answers: a flood of pings would fill the buffer with pongs.
        if self._transport is not None:
            self._transport.pause_reading()
        if self._state == "open":
            self._events.on_blocked()

    def resume_writing(self) -> None:
        if self._transport is not None:
            self._transport.resume_reading()
        if self._state == "open":
            self._events.on_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self._state = "closing"
        self._transport = None
        self._parser = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._events.on_closed()

    # Messages of the parser.

    def message_received(self, opcode: Opcode, data: bytes) -> None:
        """A whole message came; only text is spoken here."""
        if self._state != "open":
            return
        if opcode is Opcode.TEXT:
            self._events.on_text(data)
        else:
            self.close(CloseCode.UNSUPPORTED_DATA, "only text messages are understood")

    # Parts.

    def _hold(self, data: bytes) -> None:
        """Keep what comes before the 101; an honest client sends nothing then."""
        self._early += data
        if len(self._early) > MAX_EARLY_BYTES:
            self.abort()

    def _borrow(self) -> "_Parser":
        if self._parser is None:
            pool = self._limits._parsers
            self._parser = pool.pop() if pool else _Parser(self._limits.max_frame_bytes)
            self._parser.socket = self
        return self._parser

    def _give_back(self, parser: "_Parser") -> None:
        self._parser = None
        parser.socket = None
        if len(self._limits._parsers) < MAX_IDLE_PARSERS:
            self._limits._parsers.append(parser)

    def _flush(self, parser: "_Parser") -> None:
        """Write what the parser wants to say; its end of stream closes our side of the connection."""
        for data in parser.data_to_send():
            if data:
                self._write(data)
            else:
                self._finish()

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._transport.write(data)

    def _finish(self) -> None:
        """Close our side and wait for the client's, so that it reads our last words before a reset."""
        self._state = "closing"
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write_eof()
            self._arm(CLOSE_TIMEOUT_S, self.abort)

    def _arm(self, delay_s: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, callback)

    def _ping(self) -> None:
        self._heard = False
        self._write(_PING)
        self._arm(self._limits.ping_timeout_s, self._check_heard)

    def _check_heard(self) -> None:
        # A blocked client is not read from (see pause_writing); how long it stays is the owner's decision.
        if self._heard or (self._transport is not None and not self._transport.is_reading()):
            self._arm(max(self._limits.ping_interval_s - self._limits.ping_timeout_s, 0), self._ping)
        else:
            self.abort()


class _Parser(ServerProtocol):
    """The protocol of one connection at a time: frames in, whole messages out, each at once.

    Three differences from its base, all of them about strictness: a close frame may interrupt a fragmented
    message, each frame is answered before the next one is looked at, and text that is not UTF-8 fails the
    connection at its first wrong byte's frame.
    """

    def __init__(self, max_message_bytes: int) -> None:
        super().__init__(state=State.OPEN, max_size=max_message_bytes, logger=_PARSER_LOG)
        self.socket: WebSocket | None = None
        self._opcode: Opcode | None = None
        self._parts = bytearray()
        self._decoder: codecs.IncrementalDecoder | None = None

    def is_at_rest(self) -> bool:
        """Whether nothing of the connection is left in here."""
        return self.state is State.OPEN and self._opcode is None and not self.reader.buffer

    def recv_frame(self, frame: Frame) -> None:
        if frame.opcode is Opcode.CLOSE:
            self.current_size = None
        super().recv_frame(frame)
        self.events.clear()
        if self.socket is not None:
            self.socket._flush(self)
        if frame.opcode in _DATA:
            self._add(frame)

    def _add(self, frame: Frame) -> None:
        """Check the text so far, and pass the message on once it is whole."""
        if frame.opcode is not Opcode.CONT:
            self._opcode = frame.opcode
            self._decoder = _utf8_decoder() if frame.opcode is Opcode.TEXT else None
        if self._decoder is not None:
            self._decoder.decode(bytes(frame.data), frame.fin)
        self._parts += frame.data
        if frame.fin:
            self._pass_on()

    def _pass_on(self) -> None:
        opcode, data = self._opcode, bytes(self._parts)
        self._opcode, self._decoder = None, None
        self._parts.clear()
        if self.socket is not None and opcode is not None:
            self.socket.message_received(opcode, data)


_DATA = (Opcode.TEXT, Opcode.BINARY, Opcode.CONT)
_utf8_decoder = codecs.getincrementaldecoder("utf-8")


def text_frame(payload: bytes) -> bytes:
    """One unmasked, unfragmented text frame (RFC 6455, 5.2), to be sent to any number of sockets."""
    size = len(payload)
    if size < 126:
        header = struct.pack("!BB", 0x81, size)
    elif size < 1 << 16:
        header = struct.pack("!BBH", 0x81, 126, size)
    else:
        header = struct.pack("!BBQ", 0x81, 127, size)
    return header + payload


def _shortened(reason: str) -> str:
    return reason.encode()[:MAX_REASON_BYTES].decode(errors="ignore")

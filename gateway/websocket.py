"""A WebSocket on a plain TCP connection, made small: the I/O around `frames`.

A connection owns every byte that came on it. What it may cost the others is bounded twice: in each turn of
the event loop only so much of it is read, and who sends faster than any client has to for long is closed.
"""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import structlog

from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.frames import (
    CLOSE,
    PING,
    PONG,
    TEXT,
    Frame,
    FrameError,
    Message,
    check_close,
    close_frame,
    control_frame,
    message_of,
    read_frame,
)
from doorstep.gateway.traffic import Traffic

_log = structlog.get_logger(__name__)

CLOSE_TIMEOUT_S = 5.0
MAX_EARLY_BYTES = 16 * 1024
MAX_DISCARDED_BYTES = 4 << 20
"""What is still read after the end, so that a reset does not overtake our last words."""
UNIT_BYTES = 1024
UNITS_PER_TURN = 64
"""A frame counts as one unit, and as one more for each KiB of it."""
BURST_S = 20.0
"""How long the allowance of units gathers; a client that catches up may acknowledge everything at once."""


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
    """Limits of a socket, one object for all of them; seconds, bytes, and units a second."""

    ping_interval_s: float = 25.0
    ping_timeout_s: float = 5.0
    write_buffer_bytes: int = 256 * 1024
    max_frame_bytes: int = 4096
    max_frames_per_s: float = 100.0


class _Nobody:
    """Who is told once the owner was told that all is over. The owner knows its socket: if the socket still
    knew the owner, both would wait for the garbage collector, and thousands of them hold everybody up."""

    def on_text(self, data: bytes) -> None:
        pass

    def on_blocked(self) -> None:
        pass

    def on_drained(self) -> None:
        pass

    def on_closed(self) -> None:
        pass


_NOBODY = _Nobody()


# Words, not Enums: they are compared for every frame, where looking up a member would cost the most.
_State = Literal["new", "open", "closing", "ended"]
"""`closing`: our close frame is out, and the client's is waited for; `ended`: nothing more is looked at."""
_Reading = Literal["on", "next turn", "blocked"]


class WebSocket(asyncio.Protocol):
    """One client connection: `accept` it once it is connected, `send` frames, `close` it.

    Before it is accepted `send` does nothing and `close` cuts it off; once it is closing both do nothing.
    """

    __slots__ = (
        "_begun",
        "_discarded",
        "_events",
        "_heard",
        "_limits",
        "_paid_until",
        "_reading",
        "_received",
        "_state",
        "_timer",
        "_traffic",
        "_transport",
    )

    def __init__(self, events: SocketEvents, limits: SocketLimits, traffic: Traffic) -> None:
        """`traffic` counts what comes and goes, and each socket that was accepted when it begins to close."""
        self._events = events
        self._limits = limits
        self._traffic = traffic
        self._transport: asyncio.Transport | None = None
        self._received = b""
        self._begun: Message | None = None
        self._discarded = 0
        self._paid_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._heard = True
        self._state: _State = "new"
        self._reading: _Reading = "on"

    # What the owner calls.

    def accept(self, answer: str, early: bytes = b"") -> None:
        """Send the 101 and go on with the bytes that followed the upgrade request."""
        if self._state != "new":
            return
        self._state = "open"
        self._write(answer.encode("ascii"))
        self._arm(self._limits.ping_interval_s, self._ping)
        self._received = early + self._received
        self._read_frames()

    def send(self, frame: bytes) -> None:
        """Send a frame built by `text_frame`, or several of them joined."""
        if self._state == "open" and self._transport is not None:
            self._traffic.sent += len(frame)
            self._transport.write(frame)

    def close(self, code: CloseCode, reason: str = "") -> None:
        """Start the closing handshake; a client that does not answer within 5 s is cut off.

        `reason` is at most 123 bytes of UTF-8 (RFC 6455, 5.5); the rest of a longer one is left out.
        """
        if self._state == "new":
            self.abort()
        elif self._state == "open":
            self._write(close_frame(code, reason))
            self._leave("closing", code)
            self._arm(CLOSE_TIMEOUT_S, self.abort)

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard of the client since the last ping. A blocked one is not read from (see
        `pause_writing`) and counts as heard: how long it stays is the owner's decision."""
        return not self._heard and self._reading != "blocked"

    def ping(self) -> None:
        """Ping an open client out of turn; as ever, it is cut off if it stays silent for too long."""
        if self._state == "open":
            self._ping()

    def abort(self) -> None:
        """Cut the connection off without a word."""
        self._leave("ended", CloseCode.CONNECTION_LOST)
        if self._transport is not None:
            self._transport.abort()

    # What the transport calls.

    # Any: uvloop's transports have the methods of asyncio.Transport, but do not derive from it.
    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        transport.set_write_buffer_limits(high=self._limits.write_buffer_bytes)
        if self._state == "ended":
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._heard = True
        self._traffic.received += len(data)
        if self._state == "ended":
            self._discard(data)
        elif self._state == "new":
            self._hold(data)
        else:
            self._received += data
            self._read_frames()

    def pause_writing(self) -> None:
        # Who does not read gets no more answers: a flood of pings would fill the buffer with pongs.
        self._reading = "blocked"
        self._pause_reading()
        if self._state == "open":
            self._events.on_blocked()

    def resume_writing(self) -> None:
        self._go_on_next_turn()
        if self._state == "open":
            self._events.on_drained()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave("ended", CloseCode.CONNECTION_LOST)
        self._transport = None
        self._forget()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        events, self._events = self._events, _NOBODY
        events.on_closed()

    # Reading.

    def _hold(self, data: bytes) -> None:
        """Keep what comes before the 101; an honest client sends nothing then."""
        self._received += data
        if len(self._received) > MAX_EARLY_BYTES:
            self.abort()

    def _discard(self, data: bytes) -> None:
        self._discarded += len(data)
        if self._discarded > MAX_DISCARDED_BYTES:
            self.abort()

    def _read_frames(self) -> None:
        """Take what has come, frame by frame, as far as a turn's budget goes; the rest waits for the next."""
        start = units = 0
        try:
            while units < UNITS_PER_TURN and self._reading != "blocked" and self._state != "ended":
                read = read_frame(self._received, start, self._room())
                if read is None:
                    break
                units += 1 + (read[1] - start) // UNIT_BYTES
                frame, start = read
                self._take(frame)
        except FrameError as error:
            self._fail(error.code, str(error))
        except Exception:
            _log.exception("websocket_owner_failed")
            self._fail(CloseCode.INTERNAL_ERROR, "")
        self._received = self._received[start:]
        self._charge(units)
        if units >= UNITS_PER_TURN and self._reading == "on":
            self._pause_reading()
            self._go_on_next_turn()

    def _room(self) -> int:
        """How long the next frame of data may be."""
        return self._limits.max_frame_bytes - (0 if self._begun is None else len(self._begun.data))

    def _charge(self, units: int) -> None:
        """Close whoever goes beyond the allowance: a leaky bucket, kept as the time at which it is empty."""
        if not units:
            return
        now = asyncio.get_running_loop().time()
        self._paid_until = max(self._paid_until, now) + units / self._limits.max_frames_per_s
        if self._paid_until - now > BURST_S:
            self._fail(CloseCode.PROTOCOL_VIOLATION, "too many frames in too short a time")

    def _pause_reading(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.pause_reading()

    def _go_on_next_turn(self) -> None:
        self._reading = "next turn"
        asyncio.get_running_loop().call_soon(self._resume_reading)

    def _resume_reading(self) -> None:
        """Go on with what waits already, then with what comes."""
        if self._reading != "next turn" or self._transport is None:
            return
        self._reading = "on"
        self._read_frames()
        if self._reading == "on":
            self._transport.resume_reading()

    def _take(self, frame: Frame) -> None:
        if frame.opcode == PING:
            self._write(control_frame(PONG, frame.payload))
        elif frame.opcode == CLOSE:
            self._take_close(frame.payload)
        elif frame.opcode != PONG:
            message = message_of(frame, self._begun)
            self._begun = None if frame.fin else message
            if frame.fin and self._state == "open":
                self._take_message(message)

    def _take_message(self, message: Message) -> None:
        if message.opcode == TEXT:
            self._events.on_text(bytes(message.data))
        else:
            self.close(CloseCode.UNSUPPORTED_DATA, "only text messages are understood")

    def _take_close(self, payload: bytes) -> None:
        """The client's close frame answers ours, or is answered with the same."""
        check_close(payload)
        if self._state == "open":
            self._write(control_frame(CLOSE, payload))
        self._end(int.from_bytes(payload[:2]) or CloseCode.NO_STATUS)

    # Ending.

    def _fail(self, code: CloseCode, reason: str) -> None:
        """RFC 6455, 7.1.7: say why, if nothing was said yet, and look at nothing more."""
        if self._state == "open":
            self._write(close_frame(code, reason))
        self._end(code)

    def _end(self, code: int) -> None:
        """Close our side and wait for the client's, so that it reads our last words before a reset."""
        if self._state == "ended":
            return
        self._leave("ended", code)
        self._forget()
        if self._transport is not None and not self._transport.is_closing():
            with suppress(OSError):  # who has cut it off is about to be told to us
                self._transport.write_eof()
            self._arm(CLOSE_TIMEOUT_S, self.abort)

    def _leave(self, state: _State, code: int) -> None:
        """Go on to a later state; the code with which it is left counts."""
        if self._state == "open":
            self._traffic.close(code)
        self._state = state

    def _forget(self) -> None:
        self._received = b""
        self._begun = None

    # Parts.

    def _write(self, data: bytes) -> None:
        if self._transport is not None:
            self._traffic.sent += len(data)
            self._transport.write(data)

    def _arm(self, delay_s: float, callback: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(delay_s, callback)

    def _ping(self) -> None:
        self._heard = False
        self._write(_PING_FRAME)
        self._arm(self._limits.ping_timeout_s, self._check_heard)

    def _check_heard(self) -> None:
        if self.is_silent:
            self.abort()
        else:
            self._arm(max(self._limits.ping_interval_s - self._limits.ping_timeout_s, 0), self._ping)


_PING_FRAME = control_frame(PING)

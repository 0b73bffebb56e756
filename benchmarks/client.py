"""One client, without I/O: bytes of the server in, bytes to send out, and its ledger on the side."""

from array import array
from enum import Enum, auto

from doorstep.benchmarks.dialect import Dialect, Identity, Notice
from doorstep.benchmarks.frames import FINAL_TEXT, Opcode, client_frame, split_frames
from doorstep.benchmarks.ledger import Ledger
from doorstep.benchmarks.mark import find_marks

_HEAD_END = b"\r\n\r\n"


class State(Enum):
    """Where a connection is."""

    OFFLINE = auto()
    OPENING = auto()
    """Its request is under way, or accepted but not yet `LIVE`."""
    LIVE = auto()
    REFUSED = auto()
    """The server did not answer the request with 101; `Client.verdict` says what it said."""


class Samples:
    """When each counted event was due and how long it took, both in nanoseconds, over many clients."""

    __slots__ = ("dues", "latencies")

    def __init__(self) -> None:
        self.dues = array("q")
        self.latencies = array("q")

    def add(self, due_ns: int, now_ns: int) -> None:
        """Of one event that was received at `now_ns`."""
        self.dues.append(due_ns)
        self.latencies.append(now_ns - due_ns)


class Client:
    """A user's device. It keeps its ledger and its position over reconnects."""

    __slots__ = (
        "_dialect",
        "_last",
        "_placed",
        "_rest",
        "_samples",
        "_upgraded",
        "identity",
        "ledger",
        "resets",
        "state",
        "verdict",
    )

    def __init__(self, dialect: Dialect, identity: Identity, user: int, samples: Samples) -> None:
        """`user` is the index that the marks of her events carry."""
        self._dialect = dialect
        self._samples = samples
        self.identity = identity
        self.ledger = Ledger(user)
        self.state = State.OFFLINE
        self.verdict = ""
        self.resets = 0
        self._rest = b""
        self._placed = b""  # the message that told where the client is
        self._last = b""  # the last one with an event since
        self._upgraded = False

    def open(self) -> bytes:
        """Begin a connection that goes on where the last one ended; the bytes to send."""
        for message in filter(None, (self._placed, self._last)):
            position = self._dialect.position(self.identity, message)
            self.identity = Identity(self.identity.user_id, self.identity.token, position)
        self.state = State.OPENING
        self._rest = self._placed = self._last = b""
        self._upgraded = False
        return self._dialect.request(self.identity)

    def closed(self) -> None:
        """The connection is gone."""
        if self.state is not State.REFUSED:
            self.state = State.OFFLINE

    def received(self, data: bytes, now_ns: int) -> bytes:
        """Take bytes that came at `now_ns`; the bytes to answer with, mostly none."""
        if self._rest:
            data = self._rest + data
        elif data[0] == FINAL_TEXT and self._upgraded and _is_one_frame(data):
            return self._on_text(data[4:], now_ns)  # by far the most frequent case, so it takes a short cut
        if not self._upgraded:
            return self._on_head(data, now_ns)
        frames, self._rest = split_frames(data)
        return b"".join([self._on_frame(opcode, payload, now_ns) for opcode, payload in frames])

    def _on_head(self, data: bytes, now_ns: int) -> bytes:
        head, end, rest = data.partition(_HEAD_END)
        if not end:
            self._rest = data
            return b""
        status = head.split(b"\r\n", 1)[0].decode("latin-1")
        if " 101 " not in status + " ":
            self.state, self.verdict = State.REFUSED, status
            return b""
        self._upgraded, self._rest = True, b""
        greeting = self._dialect.greeting(self.identity)
        answer = client_frame(Opcode.TEXT, greeting) if greeting else b""
        return answer + self.received(rest, now_ns) if rest else answer

    def _on_frame(self, opcode: int, payload: bytes, now_ns: int) -> bytes:
        if opcode == Opcode.TEXT:
            return self._on_text(payload, now_ns)
        if opcode == Opcode.PING:
            return client_frame(Opcode.PONG, payload)
        if opcode == Opcode.CLOSE:
            self.verdict = f"closed with {int.from_bytes(payload[:2], 'big')}"
        return b""

    def _on_text(self, payload: bytes, now_ns: int) -> bytes:
        if b"\n" in payload:  # some servers put several messages into one frame, a line each
            return b"".join([self._on_message(line, now_ns) for line in payload.split(b"\n")])
        return self._on_message(payload, now_ns)

    def _on_message(self, message: bytes, now_ns: int) -> bytes:
        marks = find_marks(message)
        for user, number, due in marks:
            if self.ledger.note(int(user), int(number)):
                self._samples.add(int(due), now_ns)
        if marks:
            self._last = message
            if self.state is State.LIVE:
                return b""
        return self._on_notice(self._dialect.notice(message), message)

    def _on_notice(self, notice: Notice, message: bytes) -> bytes:
        if notice is Notice.LIVE:
            self.state, self._placed = State.LIVE, message
        elif notice is Notice.RESET:
            self.resets += 1
            self.state, self._placed, self._last = State.LIVE, message, b""
        elif notice is Notice.PING:
            return client_frame(Opcode.TEXT, self._dialect.pong())
        return b""


def _is_one_frame(data: bytes) -> bool:
    """Whether `data` is one whole frame of medium size (its length in two bytes)."""
    return len(data) > 4 and data[1] == 126 and (data[2] << 8 | data[3]) + 4 == len(data)

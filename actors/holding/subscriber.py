"""Who takes part in a user's notifications: what a socket and a long poll have in common."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Coroutine, Sequence
from typing import Any, ClassVar, Literal, NamedTuple, Protocol

from doorstep.actors.holding.inbox import Inbox, OnPush, Read, Reset, Step, Welcome
from doorstep.actors.holding.metrics import HolderMetrics
from doorstep.actors.holding.read_marks import ReadMarks
from doorstep.actors.holding.receipts import Receipts
from doorstep.actors.holding.registry import Kind
from doorstep.actors.store.values import Logged, Page, Pushed, Want
from doorstep.config.settings import Settings
from doorstep.gateway import messages
from doorstep.gateway.auth import Claims
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.cursor import Cursor, ResetReason
from doorstep.gateway.frames import text_frame
from doorstep.gateway.handover import Parcel
from doorstep.gateway.messages import Terms
from doorstep.gateway.poll import Lingering
from doorstep.gateway.problem import Problem
from doorstep.gateway.traffic import Traffic

_PAGE = 100


class News(NamedTuple):
    """A notification that came over the feed, as all of its user's subscribers get it."""

    seq: int
    previous: bytes
    digest: bytes
    message: bytes
    frame: bytes
    """The same in a WebSocket text frame."""


class Home(Protocol):
    """What a subscriber needs of its holder."""

    settings: Settings
    terms: Terms
    counters: HolderMetrics
    lingering: Lingering
    receipts: Receipts
    traffic: Traffic
    read_marks: ReadMarks

    def read_for(self, subscriber: "Subscriber") -> None:
        """Queue a read of the log."""

    def leave(self, subscriber: "Subscriber") -> None:
        """Forget the subscriber."""

    def refused(self, user_id: str, problem: Problem) -> None:
        """Count and log that a connection of this user gets this instead of notifications."""

    def authenticate(self, token: str) -> Awaitable[Claims]:
        """Verify a token; raises `AuthError`."""

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Do some work for the subscriber; what it raises is a `fault`."""

    def fault(self, where: str, error: Exception, correlation_id: str | None = None) -> None:
        """Count and log an error of ours that concerns this subscriber only; `correlation_id`: of the
        notification that it is about, if it is about one."""


class Subscriber(ABC):
    """What a socket and a poll have in common: a user, an inbox, and reading for it."""

    __slots__ = ("_gone", "_home", "_malformed", "_replay", "inbox", "user_id")

    kind: ClassVar[Kind]
    protocol: asyncio.Protocol
    """What its transport talks to."""

    def __init__(
        self, home: Home, user_id: str, cursor: Cursor | Literal["malformed"] | None, replay: int = 0
    ) -> None:
        self.user_id = user_id
        self._malformed = cursor == "malformed"
        self.inbox = Inbox(cursor if isinstance(cursor, Cursor) else None)
        self._home = home
        self._replay = replay
        self._gone = False

    def push(self, news: Sequence[News]) -> int:
        """These notifications of this user came over the feed, in this order. Says how many of them went out
        on a socket, all in one write: the first ones, or none."""
        following = 0
        for each in news:
            action = self.inbox.push(each.seq, each.previous, each.digest)
            if action == "send":
                following += 1
            else:
                self._follow(action)
        return self._deliver(news[:following]) if following else 0

    def see_head(self, head: Cursor) -> bool:
        """Catch up if the head is elsewhere; says whether that was needed."""
        action = self.inbox.see_head(head)
        self._follow(action)
        return action == "read"

    def want(self) -> Want | None:
        """What to read of the log next; None when this subscriber is gone."""
        if self._gone:
            return None
        cursor = self.inbox.cursor
        return Want(self.user_id, cursor, _PAGE, replay=self._replay if cursor is None else 0)

    def take(self, page: Page) -> None:
        """A page of the log was read for this subscriber."""
        if self._gone:
            return
        for step in self.inbox.page(page):
            if isinstance(step, Read):
                self._home.read_for(self)
            else:
                self._tell(step)

    def finish(self) -> None:
        """It has ended; whatever comes later is for nobody."""
        if not self._gone:
            self._gone = True
            self._home.leave(self)

    def fail(self, error: Exception, correlation_id: str | None = None) -> None:
        """A fault of ours in serving it, by a notification with this id where it was one: it ends, and may
        come back with its cursor. Nobody else notices."""
        self._home.fault("subscriber", error, correlation_id)
        self._break_off()

    def _reset_in(self, step: Welcome | Reset) -> ResetReason | None:
        """Why the client is to start over, if it is; counted."""
        reason = step.reason if isinstance(step, Reset) else step.reset
        if self._malformed and isinstance(step, Welcome):
            reason = "malformed"
        if reason is not None:
            self._home.counters.resets.labels(reason).inc()
        return reason

    def _follow(self, action: OnPush) -> None:
        if action == "read":
            self._home.read_for(self)

    @abstractmethod
    def begin(self, parcel: Parcel) -> None:
        """The connection is ours; `parcel` is what it came with."""

    @abstractmethod
    def close(self, code: CloseCode, after_ms: int = 0) -> None:
        """End it from this side; the client should come back after so long."""

    @abstractmethod
    def _break_off(self) -> None:
        """End it because of a fault of ours."""

    @abstractmethod
    def _deliver(self, news: Sequence[News]) -> int:
        """Send what came; says how many of it went out on a socket."""

    @abstractmethod
    def _tell(self, step: Step) -> None: ...


def message_of(logged: Logged) -> bytes:
    """The notification as a client gets it."""
    return messages.notification(logged.seq, logged.digest.encode(), logged.payload)


def news_of(pushed: Pushed) -> News:
    """What came over the feed, written out once for all devices."""
    _, seq, previous, digest, payload = pushed
    message = messages.notification(seq, digest, payload)
    return News(seq, previous, digest, message, text_frame(message))

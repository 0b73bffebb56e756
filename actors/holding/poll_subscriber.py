"""A long poll."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import orjson

from doorstep.actors.holding.inbox import ReadMark, Reset, Send, Step, Welcome
from doorstep.actors.holding.registry import Kind
from doorstep.actors.holding.subscriber import Home, News, Subscriber, message_of
from doorstep.actors.store.values import Page, Want
from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.cursor import Cursor, ResetReason
from doorstep.gateway.handover import Parcel
from doorstep.gateway.poll import PollConnection, PollRequest
from doorstep.gateway.problem import Problem

STOPPING = Problem(503, "stopping", "this server is stopping, try again")
_LOG_OUT_OF_REACH = Problem(
    503, "log_unavailable", "the log of notifications is out of reach; ask again with the same cursor"
)

_FAULT = Problem(503, "internal_error", "the request failed here; it was logged")


class PollSubscriber(Subscriber):
    """A long poll: answered by the first notifications, a reset, or the end of its wait."""

    __slots__ = ("_request", "_timer", "protocol")

    kind: ClassVar[Kind] = "poll"
    protocol: PollConnection

    def __init__(self, home: Home, parcel: Parcel) -> None:
        """Raises `HeadError` for a query that can't be read."""
        self._request = PollRequest.parse(parcel.query)
        super().__init__(home, parcel.user_id, self._request.after)
        self.protocol = PollConnection(self._on_gone, home.traffic, parcel.origin, self._on_half_closed)
        self._timer: asyncio.TimerHandle | None = None

    def begin(self, parcel: Parcel) -> None:
        """The connection is ours: read."""
        if isinstance(self._request.read, Cursor):
            self._home.read_marks.add(self.user_id, self._request.read)
        self._home.read_for(self)
        self._answer_within(self._request.wait or self._home.settings.redis.timeout_s)

    def want(self) -> Want | None:
        """A page of at most the limit that the client set."""
        if self._gone:
            return None
        return Want(self.user_id, self.inbox.cursor, self._request.limit)

    def push(self, news: Sequence[News]) -> int:
        """It is answered with the first of them, up to its limit, and gone."""
        return super().push(news[: self._request.limit])

    def take(self, page: Page) -> None:
        """Answer with the first page if there is anything to tell; else wait for a push."""
        asked_for_head = self.inbox.cursor is None
        super().take(page)
        if asked_for_head or not self._request.wait:
            self._answer(())

    def _on_half_closed(self) -> None:
        """The client waits no longer, and may be gone: it is answered with what there is."""
        self._request = replace(self._request, wait=0)
        if self.inbox.state == "live":
            self._answer(())

    def _conclude(self) -> None:
        """It has its answer, or needs none: it counts no longer, however long its connection lingers."""
        if self._timer is not None:
            self._timer.cancel()
        self.finish()

    def _on_gone(self) -> None:
        self._home.lingering.leave(self.user_id, self.protocol)
        self._conclude()

    def close(self, code: CloseCode, after_ms: int = 0) -> None:
        """Answer with what there is: nothing. The client asks again, from the cursor that it has by then.

        One that has none would begin at a later head, and miss what comes until then: it is refused.
        """
        if self.inbox.cursor is None:
            self._refuse(STOPPING)
        else:
            self._answer(())

    def _break_off(self) -> None:
        self._refuse(_FAULT)

    def _deliver(self, news: Sequence[News]) -> int:
        self._answer([each.message for each in news])
        return 0

    def _tell(self, step: Step) -> None:
        match step:
            case Send(notifications):
                self._answer([message_of(logged) for logged in notifications])
            case ReadMark():
                self._answer(())
            case Welcome() | Reset():
                reset = self._reset_in(step)
                if reset is not None:
                    self._answer((), reset=reset)

    def _answer_within(self, seconds: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds, self._time_out)

    def _time_out(self) -> None:
        """The log has its time, however short the client's wait is."""
        rest_s = self._home.settings.redis.timeout_s - self._request.wait
        if self.inbox.state == "live":
            self._answer(())
        elif self._request.wait and rest_s > 0:
            self._request = replace(self._request, wait=0)
            self._answer_within(rest_s)
        else:
            self._refuse(_LOG_OUT_OF_REACH)

    def _refuse(self, problem: Problem) -> None:
        if not self._gone:
            self._conclude()
            self._home.refused(self.user_id, problem)
            self.protocol.refuse(problem)
            self._home.lingering.enter(self.user_id, self.protocol)

    def _answer(self, notifications: Sequence[bytes], *, reset: ResetReason | None = None) -> None:
        if self._gone:
            return
        self._conclude()
        body = b'{"notifications":[%b],"cursor":%b,"reset":%b,"reset_reason":%b,"read":%d}' % (
            b",".join(notifications),
            orjson.dumps(None if self.inbox.cursor is None else str(self.inbox.cursor)),
            orjson.dumps(reset is not None),
            orjson.dumps(reset),
            self.inbox.read,
        )
        self.protocol.answer(200, body)
        self._home.lingering.enter(self.user_id, self.protocol)

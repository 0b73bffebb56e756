"""The end of a socket's token: announced once, some time before it."""

import asyncio
import time
from typing import Protocol

_LONGEST_TIMER_S = 24 * 3600.0


class TokenEvents(Protocol):
    """What the watch tells its owner."""

    def on_token_expiring(self, in_s: float) -> None:
        """The token ends in so many seconds; told once for each token."""

    def on_token_expired(self) -> None:
        """The token has ended."""


class TokenWatch:
    """Watches one token at a time, the latest one, with one timer.

    A token is announced `notice_s` before its end, or a quarter of the time that it had left when it came, if
    that is less. So there is time to get another one, and a page whose tokens live for seconds is not told of
    the next end as soon as it has answered the last.
    """

    __slots__ = ("_is_told", "_notice_s", "_timer", "expires_at")

    def __init__(self, expires_at: float) -> None:
        """`expires_at`: unix seconds. Nothing happens before `watch`."""
        self.expires_at = expires_at
        self._is_told = False
        self._notice_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, events: TokenEvents, expires_at: float, notice_s: float) -> None:
        """Watch a token from now on; one that has ended already is told at once."""
        self.stop()
        self.expires_at = expires_at
        self._is_told = False
        self._notice_s = notice_before(expires_at - time.time(), notice_s)
        self._look(events)

    def stop(self) -> None:
        """Watch no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, events: TokenEvents) -> None:
        """The clock on the wall is asked each time: it may have been set meanwhile."""
        left_s = self.expires_at - time.time()
        if left_s <= 0:
            events.on_token_expired()
            return
        if left_s <= self._notice_s and not self._is_told:
            self._is_told = True
            self._look_again(events, left_s)
            events.on_token_expiring(left_s)
        else:
            self._look_again(events, left_s if self._is_told else left_s - self._notice_s)

    def _look_again(self, events: TokenEvents, in_s: float) -> None:
        self._timer = asyncio.get_running_loop().call_later(min(in_s, _LONGEST_TIMER_S), self._look, events)


def notice_before(left_s: float, notice_s: float) -> float:
    """How long before its end a token is announced that has `left_s` to live when it comes."""
    return max(min(notice_s, left_s / 4), 0.0)

"""A circuit breaker: says that a server is out of reach and since when, and how soon to try it again.

It guards work that must not be given up, only put off. So there is no count of failures that are forgiven
and no fixed time to stay open: the first failure opens it, the retry of the failed work is the probe, and the
first success of that work closes it.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal, TypeVar

_FIRST_DELAY_S = 0.05
_LONGEST_DELAY_S = 1.0

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class BreakerStatus:
    """What a breaker says of its server."""

    name: str
    state: Literal["closed", "open"]
    since: float
    """Unix seconds, for people to read."""
    reason: str | None
    """What failed last; None while closed."""


class Breaker:
    """Whether a server can be reached, judged by the work done with it. Starts closed.

    It is open while any `operation` has failed and not worked since: a server that answers reads and refuses
    writes counts as out of reach.
    """

    def __init__(self, name: str, on_change: Callable[[bool], None] = lambda _: None) -> None:
        """`on_change` is called with True when the breaker opens, with False when it closes."""
        self.name = name
        self._on_change = on_change
        self._failures: dict[str, int] = {}
        self._reason = ""
        self._since = time.time()

    @property
    def is_open(self) -> bool:
        """Whether something failed and has not worked since."""
        return bool(self._failures)

    @property
    def status(self) -> BreakerStatus:
        """A snapshot for `/readyz`."""
        if self.is_open:
            return BreakerStatus(self.name, "open", self._since, self._reason)
        return BreakerStatus(self.name, "closed", self._since, None)

    def failure(self, error: BaseException, operation: str = "") -> float:
        """Note a failed try; returns the seconds to wait before the next one, growing up to one second.

        There is jitter in it, so that many actors do not come back to a recovered server all at once.
        """
        opens = not self.is_open
        self._reason = f"{operation or 'call'}: {error or type(error).__name__}"
        tries = self._failures[operation] = self._failures.get(operation, 0) + 1
        if opens:
            self._turn()
        longest = min(_FIRST_DELAY_S * 2.0 ** min(tries - 1, 10), _LONGEST_DELAY_S)
        return random.uniform(longest / 2, longest)  # noqa: S311 - not a secret

    def success(self, operation: str = "") -> None:
        """Note a try that worked, or that the operation has been given up."""
        if self._failures.pop(operation, None) and not self._failures:
            self._turn()

    async def retry(
        self,
        operation: str,
        attempt: Callable[[], Awaitable[T]],
        errors: type[Exception],
        before_retry: Callable[[], Awaitable[None]] | None = None,
    ) -> T:
        """Try `attempt` until it raises none of `errors`, however long that takes; returns what it returns.

        `before_retry` is awaited after each pause; what it raises of `errors` counts as a failed try.
        """
        retry = False
        try:
            while True:
                try:
                    if retry and before_retry is not None:
                        await before_retry()
                    return await attempt()
                except errors as error:
                    retry = True
                    await asyncio.sleep(self.failure(error, operation))
        finally:
            self.success(operation)  # or given up: cancelled

    def _turn(self) -> None:
        self._since = time.time()
        self._on_change(self.is_open)

"""Dead letters on their way to Kafka: one that it does not take holds up its own partition, and no other."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Collection, Iterable, Mapping

import structlog

from doorstep.actors.consuming.classify import Refused
from doorstep.actors.consuming.delivery import Delivery
from doorstep.actors.consuming.faults import Faults
from doorstep.actors.records import Partition, name_of, source_of

_PATIENCE_S = 1.0
"""So long the partition of a letter is read on before Kafka has answered."""
_AGAIN_S = 1.0
_NO_ANSWER = "no answer yet"

logger = structlog.get_logger(__name__)

Place = tuple[str, int, int]
"""Topic, partition and offset of a record."""


class PendingLetters:
    """One membership's. All that wait are sent together, again and again, until each is kept."""

    def __init__(self, delivery: Delivery, faults: Faults, on_change: Callable[[], None]) -> None:
        """Names what is held up in `faults`. `on_change` is called when that changes or a letter is kept."""
        self.held: frozenset[Partition] = frozenset()
        """The partitions that wait for theirs."""
        self._delivery = delivery
        self._faults = faults
        self._on_change = on_change
        self._waiting: dict[Place, Refused] = {}
        self._more = asyncio.Event()
        self._tried = asyncio.Event()
        self._tried.set()

    @property
    def places(self) -> Collection[Place]:
        """Of the records whose letters are not kept."""
        return self._waiting.keys()

    def add(self, refused: Iterable[Refused]) -> None:
        """Send these too."""
        for each in refused:
            self._waiting[_place(each)] = each
            self._tried.clear()
            self._more.set()

    def keep_only(self, partitions: Collection[Partition]) -> None:
        """The letters of all other partitions will be somebody else's, or come again."""
        self._waiting = {place: each for place, each in self._waiting.items() if place[:2] in partitions}
        self._hold_up(dict.fromkeys(self.held & frozenset(partitions), _NO_ANSWER))
        if not self._waiting:
            self._tried.set()

    async def tried(self) -> None:
        """Returns when each is kept, or known to take longer."""
        await self._tried.wait()

    async def run(self) -> None:
        """Send them, until cancelled."""
        try:
            while True:
                await self._wait()
                await self._send(list(self._waiting.values()))
        finally:
            self._faults.replace("dead letters", {}, time.time())

    async def _wait(self) -> None:
        """For more; or for a moment, where some were not taken."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_AGAIN_S if self._waiting else None):
                await self._more.wait()
        self._more.clear()

    async def _send(self, letters: Collection[Refused]) -> None:
        late = {_place(each)[:2]: _NO_ANSWER for each in letters}
        timer = asyncio.get_running_loop().call_later(_PATIENCE_S, self._judge, late)
        try:
            unkept = await self._delivery.dead_letter(letters)
        finally:
            timer.cancel()
        for each in letters:
            if self._waiting.get(_place(each)) is each and each not in unkept:
                del self._waiting[_place(each)]
        self._judge({_place(each)[:2]: reason for each, reason in unkept.items()})

    def _judge(self, unkept: Mapping[Partition, str]) -> None:
        """It is known now of which partitions letters are not kept, and why."""
        if not self._more.is_set():
            self._tried.set()
        self._hold_up(unkept)

    def _hold_up(self, reasons: Mapping[Partition, str]) -> None:
        """These wait, and no others do."""
        named = {name_of(each): f"a dead letter of it is not kept: {why}" for each, why in reasons.items()}
        self._faults.replace("dead letters", named, time.time())
        self._complain({each: why for each, why in reasons.items() if each not in self.held})
        self.held = frozenset(reasons)
        self._on_change()

    def _complain(self, news: Mapping[Partition, str]) -> None:
        """Tell of the first letter that holds up each of these."""
        first = {place[:2]: each for place, each in reversed(self._waiting.items())}
        for partition, reason in news.items():
            if (letter := first.get(partition)) is not None:
                source, correlation_id = source_of(letter.record), letter.fault.correlation_id
                logger.warning(
                    "dead_letter_not_kept", source=source, correlation_id=correlation_id, reason=reason
                )


def _place(refused: Refused) -> Place:
    record = refused.record
    return record.topic, record.partition, record.offset

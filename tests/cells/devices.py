"""Forty users with two devices each, behind a balancer that asks every node whether it is ready."""

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from time import monotonic
from typing import Any

from tests.cells.site import address_of, is_ready
from tests.support.browser import Browser
from tests.support.machines import Machine

USERS = 40
DEVICES = 2
PATIENCE_S = 1.5
"""A device finds out about a silent network as a page does, by a ping that nobody answers; only sooner: after
three seconds at most, not 14."""
_PROBE_S = 0.5


class Balancer:
    """Sends each connection to the next node that was ready when it was last asked."""

    def __init__(self, machines: Sequence[Machine]) -> None:
        self._machines = machines
        self._ready: list[str] = []
        self._turns = itertools.count()

    def next(self) -> str:
        """`host:port`. Raises `OSError` where no node is ready."""
        if not self._ready:
            raise OSError("no node is ready")
        return self._ready[next(self._turns) % len(self._ready)]

    async def probe(self) -> None:
        """Ask for ever: each by itself, as one that is cut off answers late or never."""
        async with asyncio.TaskGroup() as tasks:
            for machine in self._machines:
                tasks.create_task(self._probe(machine))

    async def _probe(self, machine: Machine) -> None:
        address = address_of(machine)
        while True:
            is_up = await asyncio.to_thread(is_ready, machine)
            if is_up and address not in self._ready:
                self._ready.append(address)
            elif not is_up and address in self._ready:
                self._ready.remove(address)
            await asyncio.sleep(_PROBE_S)


@dataclass(frozen=True, slots=True)
class Absence:
    """From the end of a connection to the welcome of the next one, in monotonic seconds."""

    began: float
    ended: float

    @property
    def seconds(self) -> float:
        """How long."""
        return self.ended - self.began


class Device(Browser):
    """One that connects wherever the balancer sends it, and notes when it was away."""

    def __init__(self, balancer: Balancer, user_id: str, source: str) -> None:
        super().__init__("", user_id, patience_s=PATIENCE_S, source=source)
        self.absences: list[Absence] = []
        self._balancer = balancer
        self._away_since: float | None = None

    @property
    def is_away(self) -> bool:
        """Whether it has lost its connection, and knows it, and has no new one."""
        return self._away_since is not None

    async def _listen(self) -> None:
        self._address = self._balancer.next()
        connects = self.journal.connects
        try:
            await super()._listen()
        finally:
            if self.journal.connects > connects:
                self._away_since = monotonic()

    def _take(self, message: dict[str, Any]) -> None:
        super()._take(message)
        if message["event"] == "doorstep.welcome" and self._away_since is not None:
            self.absences.append(Absence(self._away_since, monotonic()))
            self._away_since = None

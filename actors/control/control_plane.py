"""Ray's control plane, as an actor sees it: it knows of the supervisor, and restarts it within seconds."""

import asyncio
import time
from collections.abc import Mapping

from ray.util import list_named_actors

from doorstep.actors.consuming.faults import KafkaFault
from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.report import Report
from doorstep.actors.placement.cell import SUPERVISOR

LOST_S = 30.0
"""Who has seen nothing of Ray for so long has lost it."""


class ControlPlane:
    """Asks it one question at a time, and remembers when it was seen last."""

    def __init__(self) -> None:
        self.faults: Mapping[str, KafkaFault] = {}
        """`ray`, since when and why, while it does not answer, or knows of no supervisor."""
        self._calls = ActorCalls()
        self._asking: asyncio.Task[list[str]] | None = None
        self._seen_at = time.monotonic()

    @property
    def unseen_s(self) -> float:
        """Seconds since it was seen, and the supervisor with it."""
        return time.monotonic() - self._seen_at

    async def look(self, timeout_s: float) -> Report | None:
        """What the supervisor says of itself; None where it or Ray does not answer within `timeout_s`."""
        # The supervisor's answer alone would say nothing of Ray, which keeps in mind where it has found whom.
        fault = await self._fault(timeout_s)
        self.faults = {"ray": KafkaFault(fault, time.time() - self.unseen_s)} if fault else {}
        found = await self._calls.ask(SUPERVISOR, "report", timeout_s=timeout_s)
        if fault or not isinstance(found, Report):
            return None
        self._seen_at = time.monotonic()
        return found

    async def _fault(self, timeout_s: float) -> str | None:
        """What is wrong with Ray. A question can't be interrupted: one that is late is waited for again."""
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(asyncio.to_thread(list_named_actors))
        try:
            async with asyncio.timeout(timeout_s):
                names = await asyncio.shield(self._asking)
        except TimeoutError:
            return f"Ray's control plane has not answered within {timeout_s:g} s"
        except Exception as error:  # Ray says no more than that
            first_line = str(error).partition("\n")[0]
            return f"Ray's control plane: {first_line}"
        return None if SUPERVISOR in names else "Ray knows of no supervisor"


def is_well_without(address: str | None, unseen_s: float) -> bool:
    """Whether an actor is to live on that has not seen Ray for so long.

    On a Ray of our own, nobody will ever restart an actor again. A given one comes back, and meanwhile every
    event is delivered: to restart all gateways would only cut the sockets.
    """
    return address is not None or unseen_s < LOST_S

"""A Ray that was there before us, and will be after us."""

import asyncio
from typing import NoReturn

from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.ray_errors import RayLostError
from doorstep.actors.control.report import Report
from doorstep.actors.placement.cell import SUPERVISOR

_ASK_S = 5.0
_LOST_S = 30.0


class GivenRay:
    """The Ray at an address. All there is to see of it is whether it finds the supervisor, which it would
    restart within seconds."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.is_lost = False

    async def start(self) -> str:
        """Its address."""
        return self._address

    async def watch(self) -> NoReturn:
        """Raises `RayLostError` when it has found nobody for half a minute."""
        loop = asyncio.get_running_loop()
        found_at = loop.time()
        while loop.time() - found_at < _LOST_S:
            # Looked up each time: an answer of the supervisor alone would say nothing of Ray.
            if isinstance(await ActorCalls().ask(SUPERVISOR, "report", timeout_s=_ASK_S), Report):
                found_at = loop.time()
            await asyncio.sleep(_ASK_S)
        self.is_lost = True
        raise RayLostError(f"Ray at {self._address} has found no supervisor for {_LOST_S:.0f} s")

    async def stop(self) -> None:
        """Leave it as it is."""

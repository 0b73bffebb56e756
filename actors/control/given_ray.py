"""A Ray that was there before us, and will be after us."""

import asyncio
from typing import NoReturn

from doorstep.actors.control.control_plane import LOST_S, ControlPlane
from doorstep.actors.control.ray_errors import RayLostError

_LOOK_S = 5.0


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
        control_plane = ControlPlane()
        while control_plane.unseen_s < LOST_S:
            await control_plane.look(_LOOK_S)
            await asyncio.sleep(_LOOK_S)
        self.is_lost = True
        raise RayLostError(f"Ray at {self._address} has found no supervisor for {LOST_S:.0f} s")

    async def stop(self) -> None:
        """Leave it as it is."""

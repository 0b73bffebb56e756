"""A Ray that was there before us, and will be after us."""

import asyncio
import re
from typing import Any, NoReturn

import structlog
from ray import _raylet
from ray._private import services
from ray.exceptions import AuthenticationError

from doorstep.actors.control.control_plane import LOST_S, ControlPlane
from doorstep.actors.control.listening import connect_error
from doorstep.actors.control.ray_errors import RayAwayError, RayLostError
from doorstep.actors.runtime.daemon_thread import in_daemon_thread

_LOOK_S = 5.0
_GIVEN_UP_S = 120.0
"""A supervisor whose node falls silent is started elsewhere once Ray has given the node up: by Ray's defaults
after more than a minute."""
_CONNECT_S = 3.0
_ANSWER_S = 10.0
_GcsClient: Any = getattr(_raylet, "GcsClient")  # noqa: B009 - its stub does not have it
_HOST_AND_PORT = re.compile(r"\[?([^/\[\]]+)\]?:(\d+)")

logger = structlog.get_logger(__name__)


class GivenRay:
    """The Ray at an address. All there is to see of it is whether it finds the supervisor, which it would
    restart within seconds."""

    def __init__(self, address: str, within_s: float) -> None:
        """`within_s`: how long Ray may take to answer there."""
        self._address = address
        self._within_s = within_s
        self.is_lost = False

    async def start(self) -> str:
        """Its address, once Ray answers there. Raises `RayAwayError` where it does not in time, or refuses
        our token.

        `ray.init` alone would try for minutes, and say only that it could not connect. What is no
        `host:port` (`auto`, `ray://…`) is left to it.
        """
        if (parts := _HOST_AND_PORT.fullmatch(self._address)) is not None:
            await self._until_it_answers(parts[1], int(parts[2]))
        return self._address

    async def watch(self) -> NoReturn:
        """Raises `RayLostError` when it has found nobody for two minutes."""
        await self._watch(_GIVEN_UP_S)
        raise RayLostError(f"Ray at {self._address} has found no supervisor for {_GIVEN_UP_S:.0f} s")

    async def until_it_goes(self) -> None:
        """Returns when it has found nobody for half a minute."""
        await self._watch(LOST_S)

    async def _watch(self, within_s: float) -> None:
        control_plane = ControlPlane()
        while control_plane.unseen_s < within_s:
            await control_plane.look(_LOOK_S)
            await asyncio.sleep(_LOOK_S)
        self.is_lost = True

    async def stop(self) -> None:
        """Leave it as it is."""

    async def _until_it_answers(self, host: str, port: int) -> None:
        loop = asyncio.get_running_loop()
        end = loop.time() + self._within_s
        while (fault := await self._fault(host, port, end - loop.time())) is not None:
            left_s = end - loop.time()
            if left_s <= 0:
                raise RayAwayError(
                    f"no Ray at {self._address}: {fault}; start it there, or correct DOORSTEP_RAY__ADDRESS"
                )
            logger.warning("ray_away", address=self._address, reason=fault, gives_up_in_s=round(left_s))
            await asyncio.sleep(min(_LOOK_S, left_s))

    async def _fault(self, host: str, port: int, left_s: float) -> str | None:
        """Why no Ray answers there; None where one does. Raises `RayAwayError` where it refuses our token."""
        where = services.resolve_ip_for_localhost(host)  # as Ray goes there
        error = await connect_error(where, port, _CONNECT_S)
        if isinstance(error, TimeoutError):
            return f"no answer within {_CONNECT_S:.0f} s"
        if error is not None:
            return str(getattr(error, "strerror", None) or error)
        try:
            async with asyncio.timeout(min(left_s, _ANSWER_S)):
                await in_daemon_thread(lambda: _GcsClient(address=f"{where}:{port}"))
        except TimeoutError:
            return "somebody listens there, but does not answer as Ray does"
        except AuthenticationError as refusal:
            said = str(refusal).partition(". ")[0]
            raise RayAwayError(
                f"Ray at {self._address} does not let us in: {said}; "
                "it wants RAY_AUTH_MODE=token, and its token in the file that RAY_AUTH_TOKEN_PATH names"
            ) from refusal
        except Exception as fault:  # Ray says no more than that
            return str(fault).partition("\n")[0]
        return None

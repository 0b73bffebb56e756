"""The process of a gateway."""

from doorstep.actors.control.actor_process import ActorProcess
from doorstep.actors.control.gateway_actor import Gateway
from doorstep.actors.placement.cell import node_of
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.config.settings import Settings


class GatewayProcess(ActorProcess):
    """Runs a gateway."""

    def make(self, name: str, settings: Settings, run: RunDirectory) -> Gateway:
        """The gateway."""
        self._gateway = Gateway(settings, node_of(name), run)
        return self._gateway

    async def drain(self, grace_s: float) -> None:
        """See `Gateway.drain`."""
        await self._gateway.drain(grace_s)

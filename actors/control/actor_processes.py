"""The kinds of actors, created here and nowhere else; each is named in `ps` after what it is.

Each but the supervisor, which creates the others, is in a module of its own: an actor's process imports that
one, and nothing of the other kinds.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import ray

from doorstep.actors.control.actor_process import ActorProcess
from doorstep.actors.control.autoscaler import Autoscaler
from doorstep.actors.control.consumer_process import ConsumerProcess
from doorstep.actors.control.fleet import Fleet
from doorstep.actors.control.gateway_process import GatewayProcess
from doorstep.actors.control.holder_process import HolderProcess
from doorstep.actors.control.nodes import bound_to, off_the_head, other_than
from doorstep.actors.control.supervisor import Supervisor
from doorstep.actors.placement.cell import SUPERVISOR, kind_of
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.config.settings import Settings

_CALLS_AT_ONCE = 1000


class SupervisorProcess(ActorProcess):
    """Runs the supervisor."""

    def make(self, name: str, settings: Settings, run: RunDirectory) -> Supervisor:
        """The supervisor."""
        fleet = Fleet(settings, run, create)
        self._supervisor = Supervisor(settings, run, fleet, Autoscaler(settings, lambda: fleet.names))
        return self._supervisor

    async def stop_fleet(self, within_s: float) -> None:
        """See `Supervisor.stop_fleet`."""
        await self._supervisor.stop_fleet(within_s)


_PROCESSES: Mapping[str, type[ActorProcess]] = {
    "holder": HolderProcess,
    "consumer": ConsumerProcess,
    "gateway": GatewayProcess,
    "supervisor": SupervisorProcess,
}


def create(name: str, run: RunDirectory, node_id: str, avoided: Sequence[str] = ()) -> None:
    """Create the named actor on a node, or if `node_id` is empty wherever Ray wants but on the `avoided`,
    unless it is there.

    It outlives its creator. Ray restarts it when it dies: on the same node, or anywhere if it is bound to
    none; the supervisor on another one when its own is gone. It is told where its settings are, not what they
    are: Ray keeps its arguments.
    """
    process: Any = _PROCESSES[kind_of(name)]
    ray.remote(process).options(
        name=name,
        lifetime="detached",
        get_if_exists=True,
        num_cpus=0,
        resources=None if node_id else off_the_head(),
        label_selector=None if node_id else other_than(avoided),
        max_restarts=-1,
        max_concurrency=_CALLS_AT_ONCE,
        scheduling_strategy=bound_to(node_id, soft=name == SUPERVISOR) if node_id else "SPREAD",
    ).remote(name, run)

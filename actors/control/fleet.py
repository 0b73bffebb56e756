"""The fleet: brings the actors that there are to those that are wanted, on the nodes that live."""

import asyncio
from collections.abc import Callable, Mapping

import ray
import structlog
from ray.util import list_named_actors

from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.node_files import prepare
from doorstep.actors.control.nodes import live_nodes, run_on, this_node
from doorstep.actors.placement.cell import HERE, SUPERVISOR, node_of
from doorstep.actors.placement.plan import Action, Start, Stop, Wanted, plan
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.config.settings import Settings

_STOP_S = 3.5
_PREPARE_S = 5.0

logger = structlog.get_logger(__name__)

Create = Callable[[str, RunDirectory, str], None]
"""Creates the named actor on the node of this id; empty: anywhere."""


class Fleet:
    """All actors but the supervisor."""

    def __init__(self, settings: Settings, run: RunDirectory, create: Create) -> None:
        self._settings = settings
        self._run = run
        self._create = create
        self._wanted = Wanted(settings.holders, settings.consumers)
        self._calls = ActorCalls()
        self._preparing: dict[str, asyncio.Task[None]] = {}
        """By node, what makes its run directory, or has made it."""
        self.names = self._wanted.on([HERE] if settings.ray.address is None else [])
        """The actors that were wanted when it was last looked."""

    async def reconcile(self) -> None:
        """Look once, and start, stop and forget what differs. One that can't be now is tried again next time.

        Who is on no living node, having been cut off, decides nothing.
        """
        # The actors first: so no node is younger than an actor on it, and none is taken for gone.
        observed = set(await asyncio.to_thread(list_named_actors)) - {SUPERVISOR}
        nodes = await asyncio.to_thread(live_nodes, self._settings)
        if this_node(self._settings) not in nodes:
            logger.warning("node_cut_off", living=sorted(nodes))
            return
        self.names = self._wanted.on(nodes)
        actions = plan(self._wanted, observed, nodes)
        starting = {node_of(action.name) for action in actions if isinstance(action, Start)}
        await self._prepare({node: nodes[node] for node in starting & nodes.keys() if node != HERE})
        for action in actions:
            await self._carry_out(action, nodes)

    async def _prepare(self, nodes: Mapping[str, str]) -> None:
        """Make the run directories of nodes on which actors are to start, and wait a while for them."""
        for node, id_ in nodes.items():
            failed = self._preparing.get(node)
            if failed is None or (failed.done() and failed.exception()):
                task = asyncio.create_task(run_on(id_, prepare, self._run, self._settings))
                self._preparing[node] = task
        if nodes:
            await asyncio.wait([self._preparing[node] for node in nodes], timeout=_PREPARE_S)

    def _is_prepared(self, node: str) -> bool:
        preparing = self._preparing.get(node)
        if preparing is None or not preparing.done():
            return node == HERE
        if error := preparing.exception():
            logger.warning("node_not_prepared", node=node, error=str(error))
        return preparing.exception() is None

    async def _carry_out(self, action: Action, nodes: Mapping[str, str]) -> None:
        node = node_of(action.name)
        if isinstance(action, Start) and not self._is_prepared(node):
            return
        logger.info("actors_differ", action=type(action).__name__.lower(), name=action.name)
        if isinstance(action, Start):
            await asyncio.to_thread(self._create, action.name, self._run, nodes.get(node, ""))
            return
        if isinstance(action, Stop):
            await self._calls.ask(action.name, "stop", _STOP_S, timeout_s=_STOP_S)
        ray.kill(await asyncio.to_thread(ray.get_actor, action.name))

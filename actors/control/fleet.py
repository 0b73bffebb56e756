"""The fleet: brings the actors that there are to those that are wanted, on the nodes that live."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence

import ray
import structlog
from ray.util import list_named_actors

from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.node_files import forget_other_editions, prepare
from doorstep.actors.control.nodes import cell_nodes, live_nodes, run_on, run_on_all, this_node
from doorstep.actors.control.report import Report, is_able
from doorstep.actors.placement.cell import HERE, SUPERVISOR, edition_of, node_of
from doorstep.actors.placement.plan import NOTHING, Action, Known, Start, Stop, plan
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.spec import Spec
from doorstep.config.settings import Settings

_PREPARE_S = 5.0
_LATE_S = 1.0

logger = structlog.get_logger(__name__)

Create = Callable[[str, RunDirectory, str, Sequence[str]], None]
"""Creates the named actor on the node of this id; empty: anywhere but on those."""


class Fleet:
    """All actors but the supervisor."""

    def __init__(self, settings: Settings, run: RunDirectory, create: Create) -> None:
        self._settings = settings
        self._run = run
        self._create = create
        self._calls = ActorCalls()
        self._preparing: dict[str, asyncio.Task[None]] = {}
        """By node, what makes its run directory, or has made it."""
        self._stopping: dict[str, asyncio.Task[None]] = {}
        """By name, who is finishing."""
        self._had_others = run.edition > 1
        """Whether there were actors of other editions when it was last looked, as there may be at first."""
        self.names: tuple[str, ...] = ()
        """The actors that were wanted when it was last looked."""
        self.nodes: tuple[str, ...] = ()
        """The nodes that lived then, by their names."""

    async def reconcile(self, spec: Spec) -> bool:
        """Look once, and start, stop and forget what differs; whether that was nothing. One that can't be now
        is tried again next time; who has to finish does so meanwhile.

        Who is on no living node, having been cut off, decides nothing.
        """
        # The actors first: so no node is younger than an actor on it, and none is taken for gone.
        observed = set(await asyncio.to_thread(list_named_actors)) - {SUPERVISOR}
        nodes = await asyncio.to_thread(live_nodes, self._settings)
        if this_node(self._settings) not in nodes:
            logger.warning("node_cut_off", living=sorted(nodes))
            return False
        nodes = await asyncio.to_thread(cell_nodes, self._settings)
        self.names = spec.on(nodes)
        self.nodes = tuple(node for node in sorted(nodes) if node != HERE)
        actions = plan(spec, observed, nodes, await self._known(spec, observed))
        starting = {node_of(action.name) for action in actions if isinstance(action, Start)}
        await self._prepare({node: nodes[node] for node in starting & nodes.keys() if node != HERE}, spec)
        avoided = [nodes[node] for node in spec.draining if node in nodes]
        for action in actions:
            await self._carry_out(action, nodes, avoided)
        return not actions and observed == {*self.names}

    async def _known(self, spec: Spec, observed: Collection[str]) -> Known:
        """Asked only where others of an earlier edition, or consumers on a drained node, wait for that."""
        has_others = any(edition_of(name) != self._run.edition for name in observed)
        if self._had_others and not has_others:
            await run_on_all(self._settings, forget_other_editions, self._run)
        self._had_others = has_others
        return await self.look() if has_others or spec.draining else NOTHING

    async def look(self) -> Known:
        """What the wanted actors say."""
        answers = await self._calls.ask_all(self.names, "report", timeout_s=_LATE_S)
        reports = [answer for answer in answers if isinstance(answer, Report)]
        serving = {report.status.name for report in reports if is_able(report)}
        return Known(serving, {report.status.name: report.node for report in reports})

    async def _prepare(self, nodes: Mapping[str, str], spec: Spec) -> None:
        """Make the run directories of nodes on which actors are to start, and wait a while for them."""
        for node, id_ in nodes.items():
            failed = self._preparing.get(node)
            if failed is None or (failed.done() and failed.exception()):
                task = asyncio.create_task(run_on(id_, prepare, self._run, self._settings, spec))
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

    async def _carry_out(self, action: Action, nodes: Mapping[str, str], avoided: Sequence[str]) -> None:
        node = node_of(action.name)
        if isinstance(action, Start) and not self._is_prepared(node):
            return
        if action.name in self._stopping:
            return
        logger.info("actors_differ", action=type(action).__name__.lower(), name=action.name)
        if isinstance(action, Start):
            await asyncio.to_thread(self._create, action.name, self._run, nodes.get(node, ""), avoided)
        elif isinstance(action, Stop):
            self._stopping[action.name] = asyncio.create_task(self._finish(action.name))
        else:
            await _remove(action.name)

    async def _finish(self, name: str) -> None:
        """Let an actor finish, for as long as a stop may take, and remove it."""
        try:
            within_s = self._settings.drain_s
            await self._calls.ask(name, "stop", within_s, timeout_s=within_s + _LATE_S)
            await _remove(name)
        except ValueError:
            logger.info("actor_gone_already", name=name)
        finally:
            del self._stopping[name]


async def _remove(name: str) -> None:
    """Raises `ValueError` where it is not there."""
    ray.kill(await asyncio.to_thread(ray.get_actor, name))

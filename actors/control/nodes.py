"""The nodes of the Ray cluster: which of them live, which one is ours, and work that is done on one."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from doorstep.actors.placement.cell import HERE
from doorstep.config.settings import Settings

_NAME_DIGITS = 8
_nodes: Any = ray.nodes


def live_nodes(settings: Settings) -> Mapping[str, str]:
    """By the names of the nodes, Ray's ids of them. Blocks."""
    if settings.ray.address is None:
        return {HERE: ""}
    ids = [str(node["NodeID"]) for node in _nodes() if node["Alive"]]
    return {_name_of(id_): id_ for id_ in ids}


def this_node(settings: Settings) -> str:
    """The name of the node of this process."""
    return HERE if settings.ray.address is None else _name_of(ray.get_runtime_context().get_node_id())


def bound_to(node_id: str, *, soft: bool = False) -> NodeAffinitySchedulingStrategy:
    """Only on this node; if `soft`, on another one when it is gone."""
    return NodeAffinitySchedulingStrategy(node_id, soft=soft)


async def run_on(node_id: str, work: Callable[..., None], *arguments: object) -> None:
    """Do some work on a node. Raises `RayError` where it fails, or the node dies.

    A task leaves no arguments in Ray's GCS, as the creation of an actor does.
    """
    task: Any = ray.remote(work)
    await task.options(num_cpus=0, max_retries=0, scheduling_strategy=bound_to(node_id)).remote(*arguments)


async def run_on_all(settings: Settings, work: Callable[..., None], *arguments: object) -> None:
    """Do some work on every node, as far as that is possible."""
    nodes = await asyncio.to_thread(live_nodes, settings)
    await asyncio.gather(*(run_on(id_, work, *arguments) for id_ in nodes.values()), return_exceptions=True)


def _name_of(node_id: str) -> str:
    """A node that comes back has another id, and so another name."""
    return node_id[:_NAME_DIGITS]

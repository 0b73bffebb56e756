"""The nodes of the Ray cluster: which of them live, which one is ours, and work that is done on one."""

import asyncio
import socket
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from doorstep.actors.placement.cell import HERE
from doorstep.actors.placement.homes import public_name
from doorstep.actors.placement.hosts import CELL, hosts
from doorstep.config.settings import Settings

_NAME_DIGITS = 8
_A_BIT = 0.001
_nodes: Any = ray.nodes


def live_nodes(settings: Settings) -> Mapping[str, str]:
    """By the names of the nodes, Ray's ids of them. Blocks."""
    return {HERE: ""} if settings.ray.address is None else _ids(_living())


def cell_nodes(settings: Settings) -> Mapping[str, str]:
    """Those of the `live_nodes` that are to have a cell (see `hosts`). Blocks."""
    if settings.ray.address is None:
        return {HERE: ""}
    living = _living()
    chosen = hosts({node["NodeID"]: node["Resources"] for node in living})
    return _ids(node for node in living if node["NodeID"] in chosen)


def off_the_head() -> Mapping[str, float]:
    """The resources to ask for, to be on any node that may have actors. Blocks."""
    return {CELL: _A_BIT} if any(node["Resources"].get(CELL) for node in _living()) else {}


def other_than(node_ids: Sequence[str]) -> Mapping[str, str]:
    """The labels to ask for, to be on none of these nodes."""
    return {"ray.io/node-id": f"!in({','.join(node_ids)})"} if node_ids else {}


def this_node(settings: Settings) -> str:
    """The name of the node of this process."""
    return HERE if settings.ray.address is None else _name_of(ray.get_runtime_context().get_node_id())


def public_name_here(settings: Settings) -> str:
    """What the node of this process is called in public: as `ray start --node-name` has it, or as its host.

    Raises `ValueError` for what can't be a part of a host's name. Blocks.
    """
    if settings.ray.address is None:
        return public_name("", socket.gethostname())
    here = ray.get_runtime_context().get_node_id()
    (node,) = [node for node in _nodes() if node["NodeID"] == here]
    # Ray calls a node by its address unless it is told better.
    given = "" if node["NodeName"] == node["NodeManagerAddress"] else node["NodeName"]
    return public_name(given, node["NodeManagerHostname"])


def this_actor() -> str:
    """Ray's id of the actor of this process: no other actor has it, and every process of this one, wherever
    Ray starts it."""
    return str(ray.get_runtime_context().get_actor_id())


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


def _living() -> list[Any]:
    return [node for node in _nodes() if node["Alive"]]


def _ids(nodes: Iterable[Any]) -> Mapping[str, str]:
    return {_name_of(node["NodeID"]): node["NodeID"] for node in nodes}


def _name_of(node_id: str) -> str:
    """A node that comes back has another id, and so another name."""
    return node_id[:_NAME_DIGITS]

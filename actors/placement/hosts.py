"""Which nodes of a Ray cluster get a cell, by the resources that they offer. Pure."""

from collections.abc import Mapping

CELL = "cell"
"""The resource that a node is given (`ray start --resources='{"cell": 1}'`) where not every node is to have a
cell."""

Resources = Mapping[str, float]


def hosts(nodes: Mapping[str, Resources]) -> frozenset[str]:
    """The nodes to have a cell: those with the resource, or, where none has it, those that offer CPUs.

    So a head without CPUs (`--num-cpus=0`) has none, also while no other node lives.
    """
    named = frozenset(name for name, resources in nodes.items() if resources.get(CELL))
    return named or frozenset(name for name, resources in nodes.items() if resources.get("CPU"))

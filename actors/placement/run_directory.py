"""The directory of a node in which its actors have their settings and their Unix sockets. Pure."""

from dataclasses import dataclass
from pathlib import Path

from doorstep.actors.placement.cell import mark_of


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The same path on every node, and on each a directory of its own, which only its owner can enter."""

    path: Path
    edition: int = 1
    """Of the actors whose directory it is. Two may share it for a while, with settings of their own."""

    @property
    def settings_file(self) -> Path:
        """Where every actor reads its settings."""
        return self.path / f"settings{mark_of(self.edition)}.json"

    @property
    def spec_file(self) -> Path:
        """The spec that was in force when somebody on this node looked last."""
        return self.path / f"spec{mark_of(self.edition)}.json"

    @property
    def log_socket(self) -> Path:
        """Where the lines of every actor's log are printed."""
        return self.path / f"log{mark_of(self.edition)}.sock"

    @property
    def ports_socket(self) -> Path:
        """Where a gateway leaves its ports to its successor."""
        return self.path / "ports.sock"

    def starts_of(self, actor_id: str) -> Path:
        """Where the processes of an actor note that they begin, and why they end."""
        return self.path / f"{actor_id}.starts"

    def socket_of(self, holder: str) -> Path:
        """Where a holder takes sockets over."""
        return self.path / f"{holder}.sock"

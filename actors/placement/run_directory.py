"""The directory of a node in which its actors have their settings and their Unix sockets. Pure."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The same path on every node, and on each a directory of its own, which only its owner can enter."""

    path: Path

    @property
    def settings_file(self) -> Path:
        """Where every actor reads its settings."""
        return self.path / "settings.json"

    @property
    def log_socket(self) -> Path:
        """Where the lines of every actor's log are printed."""
        return self.path / "log.sock"

    def starts_of(self, actor_id: str) -> Path:
        """Where an actor's starts are counted."""
        return self.path / f"{actor_id}.starts"

    def socket_of(self, holder: str) -> Path:
        """Where a holder takes sockets over."""
        return self.path / f"{holder}.sock"

"""Which actors are wanted, and how to get there from those that exist. Pure."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from doorstep.actors.placement.slots import owner_of, slot_of

GATEWAY = "gateway"
SUPERVISOR = "supervisor"


@dataclass(frozen=True, slots=True)
class Topology:
    """The wanted actors of one node, and the directory of the Unix sockets between them."""

    holders: tuple[str, ...]
    consumers: tuple[str, ...]
    run_dir: Path

    @classmethod
    def of(cls, *, holders: int, consumers: int, run_dir: Path) -> "Topology":
        """`holders` and `consumers` actors, named `holder-0`, `consumer-0` and on."""
        return cls(
            tuple(f"holder-{number}" for number in range(holders)),
            tuple(f"consumer-{number}" for number in range(consumers)),
            run_dir,
        )

    @property
    def actors(self) -> tuple[str, ...]:
        """Everybody but the supervisor: holders first, so that a gateway finds them."""
        return (*self.holders, *self.consumers, GATEWAY)

    @property
    def settings_file(self) -> Path:
        """Where every actor reads its settings."""
        return self.run_dir / "settings.json"

    @property
    def log_socket(self) -> Path:
        """Where the lines of every actor's log are printed."""
        return self.run_dir / "log.sock"

    def starts_of(self, name: str) -> Path:
        """Where an actor's starts are counted."""
        return self.run_dir / f"{name}.starts"

    def socket_of(self, holder: str) -> Path:
        """Where a holder takes sockets over."""
        return self.run_dir / f"{holder}.sock"

    def holder_of(self, user_id: str) -> str:
        """The holder that owns a user."""
        return owner_of(slot_of(user_id), self.holders)


@dataclass(frozen=True, slots=True)
class Start:
    """Create this actor."""

    name: str


@dataclass(frozen=True, slots=True)
class Stop:
    """Let this actor finish, then remove it."""

    name: str


def plan(desired: Sequence[str], observed: Collection[str]) -> list[Start | Stop]:
    """What turns the `observed` actors into the `desired` ones. Restarts are not planned: they are Ray's."""
    starts: list[Start | Stop] = [Start(name) for name in desired if name not in observed]
    return starts + [Stop(name) for name in sorted(observed) if name not in desired]

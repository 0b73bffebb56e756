"""What the conductor tells the processes of the generator, and what they answer. All frozen values."""

from array import array
from collections.abc import Mapping
from dataclasses import dataclass

from doorstep.benchmarks.arrivals import Arrivals
from doorstep.benchmarks.dialect import Dialect
from doorstep.benchmarks.health import Health
from doorstep.benchmarks.latency import Latencies
from doorstep.benchmarks.ledger import Exactness
from doorstep.benchmarks.records import Records


@dataclass(frozen=True, slots=True)
class Crowd:
    """The users of a scenario: `<prefix>-0`, `<prefix>-1` …, with `devices` connections each."""

    prefix: str
    users: int
    devices: int
    secret: str
    """Signs their HS256 tokens."""
    token_ttl_s: int = 24 * 3600

    def user_id(self, user: int) -> str:
        """Name of the user with the index `user`."""
        return f"{self.prefix}-{user}"


# --- to a swarm of clients


@dataclass(frozen=True, slots=True)
class Populate:
    """Make the clients with the numbers `first` to `end` - 1, all offline; client c is a device of user
    c // devices. Answered with `Sight`."""

    dialect: Dialect
    crowd: Crowd
    first: int
    end: int
    address: tuple[str, int]
    source: str
    """Address to connect from: one address has at most 28,000 ports or so."""


@dataclass(frozen=True, slots=True)
class Connect:
    """Start to connect every client that is offline, at most `window` at once. Answered with `Sight`."""

    window: int


@dataclass(frozen=True, slots=True)
class Disconnect:
    """Close every connection. Answered with `Sight`."""


@dataclass(frozen=True, slots=True)
class Mute:
    """Stop to read from this share of the clients, and keep them out of the account, until the next
    `Disconnect`. Answered with `Sight`."""

    share: float


@dataclass(frozen=True, slots=True)
class Begin:
    """A load starts at `start_ns`: forget the samples so far. Answered with `Sight`."""

    start_ns: int


@dataclass(frozen=True, slots=True)
class Expect:
    """All of the load is produced: user u has had `totals[u]` events in all. Answered with `Sight`."""

    totals: "array[int]"


@dataclass(frozen=True, slots=True)
class Look:
    """How is it going? Answered with `Sight`."""


@dataclass(frozen=True, slots=True)
class Collect:
    """The load is over. Answered with `Findings`, which judge by the totals of the last `Expect`."""


@dataclass(frozen=True, slots=True)
class Sight:
    """Where a swarm is."""

    clients: int
    live: int
    opening: int
    failures: Mapping[str, int]
    """Connections that were refused, or closed by the server, since `Populate`, by what it said."""
    received: int
    """Events counted since `Begin`."""
    expected: int
    """Events that should be counted by the time all are here; known after `Expect`."""
    last_ns: int
    """When a client last became live or got an event."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What a swarm found out about a load."""

    exactness: Exactness
    by_second: Mapping[int, Latencies]
    """Latencies, from when an event was due, by the second in which it was due."""
    arrived: Mapping[int, int]
    """Events by the second in which they arrived."""
    connecting: Latencies
    """From the start of a connection until it was live, of those since the last load."""
    bytes_received: int
    last_ns: int
    muted: int
    muted_closed: int
    """Of the muted clients, those that the server has closed by now."""
    resets: int
    health: Health


# --- to the producer


@dataclass(frozen=True, slots=True)
class Plan:
    """Get ready to produce a load, numbering on from the loads before. Answered with `Produced`."""

    records: Records
    crowd: Crowd
    arrivals: Arrivals


@dataclass(frozen=True, slots=True)
class Go:
    """Start the planned load at `start_ns`. Answered with `Produced` at once."""

    start_ns: int


@dataclass(frozen=True, slots=True)
class Report:
    """How producing a load went."""

    lag: Latencies
    """How late events were handed to the Kafka client."""
    health: Health
    totals: "array[int]"
    """Events of each user so far, over all loads with this crowd."""


@dataclass(frozen=True, slots=True)
class Produced:
    """Where the producer is."""

    planned: int
    sent: int
    failures: Mapping[str, int]
    """What the broker refused, by reason."""
    report: Report | None
    """None until the broker has said that it has each of the planned ones, or has refused it."""


Order = Populate | Connect | Disconnect | Mute | Begin | Expect | Look | Collect | Plan | Go
Answer = Sight | Findings | Produced


@dataclass(frozen=True, slots=True)
class Failed:
    """The process could not do what it was told; the text says why."""

    reason: str

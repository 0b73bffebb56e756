"""What the keys and channels of one service are called. Pure.

Everything of a slot has the slot's hash tag, and everything of a batch the batch's, so that in a Cluster what
a script needs is on one master. After the tag comes what it is, so that no name can be taken for another one.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Keyspace:
    """The names under `prefix` in one `database` of a server.

    Services with other prefixes or databases share no name. Pub/sub knows no databases: so their number is a
    part of a channel's name.
    """

    prefix: str
    database: int = 0

    def user(self, slot: int, user_id: str) -> tuple[str, str, str]:
        """A user's log (stream), head (hash) and known dedupe keys (sorted set)."""
        stem = f"{self.prefix}:{{s{slot}}}:"
        return f"{stem}log:{user_id}", f"{stem}head:{user_id}", f"{stem}ids:{user_id}"

    def feed(self, slot: int) -> str:
        """The channel on which a slot's appends are published."""
        return f"{self.prefix}:{{s{slot}}}:feed:{self.database}"

    def stamp(self, slot: int) -> str:
        """What the store says of itself (hash)."""
        return f"{self.prefix}:{{s{slot}}}:stamp"

    def rebuilding(self, slot: int) -> str:
        """What is being appended again after a loss: offsets by partition and group (hash)."""
        return f"{self.prefix}:{{s{slot}}}:rebuilding"

    def probe(self, slot: int) -> str:
        """What is there for a moment, to find out what may be done."""
        return f"{self.prefix}:{{s{slot}}}:probe"

    def checkpoints(self, slot: int, group: str) -> str:
        """The checkpoints of a consumer group (hash)."""
        return f"{self.prefix}:{{s{slot}}}:checkpoints:{group}"

    def context(self, batch: str) -> str:
        """The user of a batch (string)."""
        return f"{self.prefix}:{{b:{batch}}}:user"

    def parked(self, batch: str) -> tuple[str, str]:
        """The events that wait for a batch's user: identities by arrival (sorted set), records (hash)."""
        return f"{self.prefix}:{{b:{batch}}}:parked", f"{self.prefix}:{{b:{batch}}}:records"

    def spec(self, name: str) -> str:
        """What is wanted of a fleet (string)."""
        return f"{self.prefix}:{{spec}}:record:{name}"

    def supervisor(self, name: str) -> str:
        """What the supervisor of a fleet says (string)."""
        return f"{self.prefix}:{{spec}}:supervisor:{name}"

    @property
    def cells(self) -> str:
        """The cells that live (sorted set)."""
        return f"{self.prefix}:{{spec}}:cells"

    @property
    def parking(self) -> str:
        """The index of all parked events (sorted set)."""
        return f"{self.prefix}:{{parking}}:index"

    @property
    def sweeper(self) -> str:
        """The lock of who looks after parked events (string)."""
        return f"{self.prefix}:{{parking}}:sweeper"

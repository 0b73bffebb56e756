"""What a test knows of a Kafka and of a Valkey, wherever they run."""

from typing import Protocol


class KafkaServer(Protocol):
    """One Kafka broker. It creates topics on first use with one partition and takes records of up to 8 MB."""

    @property
    def bootstrap(self) -> str:
        """`host:port` of its plain listener; stays the same over `stop` and `start`."""

    @property
    def version(self) -> str:
        """What it is, for the summary of the test run."""

    def start(self) -> None:
        """Start it with the data it had; returns when it serves clients. A running one is left alone."""

    def stop(self, *, kill: bool = False) -> None:
        """End it (SIGTERM, or SIGKILL where `kill`) and keep its data."""

    def create_topic(self, name: str, *, partitions: int = 1) -> None:
        """Create a topic; returns when its leaders answer. Raises `KafkaException` if it exists."""


class ValkeyServer(Protocol):
    """One Valkey that keeps what it acknowledged in an append-only file."""

    @property
    def url(self) -> str:
        """`redis://host:port`; stays the same over `stop` and `start`."""

    @property
    def version(self) -> str:
        """What it is, for the summary of the test run."""

    def start(self) -> None:
        """Start it with the data it had; returns when it serves clients. A running one is left alone."""

    def stop(self, *, kill: bool = False) -> None:
        """End it (SIGTERM, or SIGKILL where `kill`) and keep its data."""

"""Names that no other test uses, so that tests share one Kafka and one Valkey."""

import uuid
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Names:
    """Topic, group and user names of one test."""

    token: str = field(default_factory=lambda: uuid.uuid4().hex[:10])

    def topic(self, name: str = "events") -> str:
        """A Kafka topic name."""
        return f"t{self.token}.{name}"

    def group(self, name: str = "group") -> str:
        """A Kafka consumer group id."""
        return f"g{self.token}-{name}"

    def user(self, name: str | int = 0) -> str:
        """A user id."""
        return f"user-{self.token}-{name}"

    def batch(self, name: str | int = 0) -> str:
        """A batch id."""
        return f"batch-{self.token}-{name}"

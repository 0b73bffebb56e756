"""A server under test that is up: what the conductor needs to know of it, whichever it is."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from doorstep.benchmarks.dialect import Dialect
from doorstep.benchmarks.family import Family
from doorstep.benchmarks.records import Records

SECRET = "0123456789abcdef0123456789abcdef"  # noqa: S105 - of users that live for the time of a benchmark


@dataclass(frozen=True, slots=True)
class Target:
    """One server, started. Whoever started it ends it by `family.stop()`."""

    name: str
    version: str
    family: Family
    address: tuple[str, int]
    dialect: Dialect
    make_records: Callable[[int], Records]
    """Takes the length of the notification in bytes."""
    group: str
    """Its Kafka consumer group."""
    components: Sequence[tuple[re.Pattern[str], str]]
    """What in a command line makes a process which component; the first that matches counts."""

    def component_of(self, command: str) -> str:
        """The component that a process with this command line is; its own name where nothing matches."""
        return next((name for pattern, name in self.components if pattern.search(command)), self.name)

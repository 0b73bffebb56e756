"""The Kafka of a benchmark: Apache Kafka from its jars, or one that is given."""

import time
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from doorstep.benchmarks.errors import SetupError
from doorstep.benchmarks.family import Family
from doorstep.development.kafka import KafkaProcess, MissingPartError
from doorstep.development.processes import ServerError

PARTITIONS = 8

_ADMIN_S = 30.0
# In the small heap that Java begins with, the broker stood still 10 to 20 ms each 1.4 s at 2,000/s: 1 % of
# the time, so that its collector alone decided on the p99 of whoever was measured. In this one, each 7 s,
# and the first time takes 40 ms instead of 400, as the log cleaner need not have its buffer of 128 MB moved.
_JAVA_OPTIONS = ("-Xms1g", "-Xmx1g", "-Xmn600m", "-XX:+UseSerialGC")
_PROPERTIES = {
    "num.partitions": str(PARTITIONS),
    "num.network.threads": "1",
    "num.io.threads": "2",
    "log.retention.bytes": str(2 << 30),
    "log.cleaner.dedupe.buffer.size": str(8 << 20),
}


class Kafka:
    """A broker that takes records; its address, and what has been read of it."""

    def __init__(self, bootstrap: str, version: str, family: Family | None = None) -> None:
        """`family`: of a broker of our own."""
        self.bootstrap = bootstrap
        self.version = version
        self.family = family
        self._admin = AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})

    def create_topic(self, name: str) -> None:
        """Create a topic with the partitions of a benchmark; one that exists is left alone."""
        future = self._admin.create_topics([NewTopic(name, PARTITIONS, 1)])[name]
        try:
            future.result(_ADMIN_S)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise ServerError(f"Kafka at {self.bootstrap} did not create {name}: {error}") from error

    def unread(self, topic: str, group: str) -> int:
        """How many records of `topic` the group has not committed."""
        partitions = [TopicPartition(topic, number) for number in range(PARTITIONS)]
        reader = Consumer({"bootstrap.servers": self.bootstrap, "group.id": group})
        try:
            committed = {
                part.partition: max(0, part.offset) for part in reader.committed(partitions, _ADMIN_S)
            }
            ends = [reader.get_watermark_offsets(part, _ADMIN_S) for part in partitions]
        except KafkaException as error:
            raise ServerError(
                f"Kafka at {self.bootstrap} did not tell how far {group} is: {error}"
            ) from error
        finally:
            reader.close()
        return sum(end[1] - committed[number] for number, end in enumerate(ends) if end is not None)

    def answers(self) -> bool:
        """Whether a broker is there."""
        try:
            self._admin.list_topics(timeout=0.5)
        except KafkaException:
            return False
        return True

    def close(self) -> None:
        """End a broker of our own."""
        if self.family is not None:
            self.family.stop()


def start_kafka(jars: Path, directory: Path) -> Kafka:
    """Start a broker with the jars in `jars` and its data in `directory`; returns when it answers.

    Raises `SetupError` without Java or jars, `ServerError` if it does not start.
    """
    try:
        broker = KafkaProcess(directory, jars, _PROPERTIES, java_options=_JAVA_OPTIONS)
    except MissingPartError as error:
        raise SetupError(f"{error}; or give a broker by --kafka") from error
    broker.start()
    return Kafka(broker.bootstrap, f"{broker.version}, {' '.join(_JAVA_OPTIONS)}", Family(broker.process))


def given_kafka(bootstrap: str) -> Kafka:
    """A broker that is there. Raises `ServerError` if it isn't."""
    kafka = Kafka(bootstrap, f"given: {bootstrap}")
    deadline = time.monotonic() + _ADMIN_S
    while not kafka.answers():
        if time.monotonic() > deadline:
            raise ServerError(f"no Kafka answers at {bootstrap}")
    return kafka

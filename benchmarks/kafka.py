"""The Kafka of a benchmark: Apache Kafka from its jars (KRaft, one broker), or one that is given."""

import shutil
import subprocess
import time
import uuid
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from doorstep.benchmarks.errors import ServerError, SetupError
from doorstep.benchmarks.ports import free_port
from doorstep.benchmarks.processes import ServerProcess

PARTITIONS = 8

_START_S = 60.0
_ADMIN_S = 30.0
# In the small heap that Java begins with, the broker stood still 10 to 20 ms each 1.4 s at 2,000/s: 1 % of
# the time, so that its collector alone decided on the p99 of whoever was measured. In this one, each 7 s,
# and the first time takes 40 ms instead of 400, as the log cleaner need not have its buffer of 128 MB moved.
_JAVA_OPTIONS = ("-Xms1g", "-Xmx1g", "-Xmn600m", "-XX:+UseSerialGC")
_PROPERTIES = """\
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}
controller.listener.names=CONTROLLER
log.dirs={data}
num.partitions={partitions}
num.network.threads=1
num.io.threads=2
offsets.topic.replication.factor=1
offsets.topic.num.partitions=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
log.retention.bytes=2147483648
log.cleaner.dedupe.buffer.size=8388608
"""


class Kafka:
    """A broker that takes records; its address, and what has been read of it."""

    def __init__(self, bootstrap: str, version: str, process: ServerProcess | None = None) -> None:
        """`process`: of a broker of our own."""
        self.bootstrap = bootstrap
        self.version = version
        self.process = process
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
        if self.process is not None:
            self.process.stop()


def start_kafka(jars: Path, directory: Path) -> Kafka:
    """Start a broker with the jars in `jars` and its data in `directory`; returns when it answers.

    Raises `SetupError` without Java or jars, `ServerError` if it does not start.
    """
    java = shutil.which("java")
    if java is None:
        raise SetupError("there is no `java` for Apache Kafka: install a JRE, or give a broker by --kafka")
    version = next((jar.stem.rpartition("-")[2] for jar in jars.glob("kafka_*.jar")), None)
    if version is None:
        raise SetupError(
            f"there are no Kafka jars in {jars}: `make setup-tests`, or give a broker by --kafka"
        )
    port, properties = free_port(), directory / "server.properties"
    data = directory / "data"
    settings = _PROPERTIES.format(port=port, controller=free_port(), data=data, partitions=PARTITIONS)
    properties.write_text(settings)
    command = [java, *_JAVA_OPTIONS, "-cp", f"{jars}/*"]
    format_log = [*command, "kafka.tools.StorageTool", "format", "--cluster-id", uuid.uuid4().hex[:22]]
    try:
        subprocess.run(  # noqa: S603 - our own command
            [*format_log, "--config", str(properties)], check=True, capture_output=True, text=True
        )
    except subprocess.CalledProcessError as error:
        raise SetupError(f"Kafka's log could not be made in {data}: {error.stderr.strip()}") from error
    process = ServerProcess("kafka", [*command, "kafka.Kafka", str(properties)], directory=directory)
    kafka = Kafka(f"127.0.0.1:{port}", f"{version}, {' '.join(_JAVA_OPTIONS)}", process)
    try:
        process.wait_until(kafka.answers, _START_S)
    except BaseException:
        process.stop()
        raise
    return kafka


def given_kafka(bootstrap: str) -> Kafka:
    """A broker that is there. Raises `ServerError` if it isn't."""
    kafka = Kafka(bootstrap, f"given: {bootstrap}")
    deadline = time.monotonic() + _ADMIN_S
    while not kafka.answers():
        if time.monotonic() > deadline:
            raise ServerError(f"no Kafka answers at {bootstrap}")
    return kafka

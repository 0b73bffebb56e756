"""Apache Kafka itself (KRaft, one node) as a child process, from the jars that `make` fetches with Maven."""

import shutil
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from doorstep.development.ports import free_port
from doorstep.development.processes import ServerError, ServerProcess

_START_S = 120.0
_ADMIN_S = 30.0
_ANSWER_S = 5.0
_POLL_S = 0.02

ONE_NODE = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
}
"""What a broker needs that is alone."""


class MissingPartError(Exception):
    """Kafka can't be started here: `name` is missing, and `remedy` says how to get it."""

    def __init__(self, name: str, remedy: str) -> None:
        super().__init__(f"{name} is missing; {remedy}")
        self.name = name
        self.remedy = remedy


class KafkaProcess:
    """One broker on a free port of this machine. Data, configuration and `kafka.log` are in `directory`."""

    def __init__(
        self,
        directory: Path,
        jars: Path,
        properties: Mapping[str, str] | None = None,
        *,
        java_options: Sequence[str] = (),
        listeners: Mapping[str, int] | None = None,
        host: str = "127.0.0.1",
    ) -> None:
        """`properties`: broker settings over `ONE_NODE`. `listeners`: security protocol -> port of further
        listeners. `host`: the address of this machine that the plain one is at. Raises `MissingPartError`
        without Java or jars."""
        self.version = _version(jars)
        self._java = (_java(), *java_options, "-cp", f"{jars}/*")
        self._directory = directory
        self._host = host
        self._port = free_port()
        self._configuration = directory / "server.properties"
        self._data = directory / "data"
        self._write_configuration(properties or {}, listeners or {})
        command = (*self._java, "kafka.Kafka", str(self._configuration))
        self.process = ServerProcess(command, log=directory / "kafka.log")

    @property
    def bootstrap(self) -> str:
        """`host:port` of its plain listener; stays the same over `stop` and `start`."""
        return f"{self._host}:{self._port}"

    def start(self) -> None:
        """Start it with the data it had; returns when it serves clients. A running one is left alone.

        Raises `ServerError`.
        """
        if self.process.running:
            return
        if not self._data.exists():
            self._format()
        self.process.start()
        self.process.wait_until(lambda: serves(self.bootstrap), timeout_s=_START_S)

    def stop(self, *, kill: bool = False) -> None:
        """End it (SIGTERM, or SIGKILL where `kill`) and keep its data."""
        if kill:
            self.process.kill()
        else:
            self.process.stop()

    def create_topic(self, name: str, *, partitions: int = 1) -> None:
        """Create a topic; returns when its leaders answer. Raises `KafkaException` if it exists."""
        create_topic(self.bootstrap, name, partitions)

    def _format(self) -> None:
        """Give the data directory its cluster id, which a broker wants to find at its first start."""
        tool = ("kafka.tools.StorageTool", "format", "--cluster-id", uuid.uuid4().hex[:22])
        command = (*self._java, *tool, "--config", str(self._configuration))
        with ServerProcess(command, log=self._directory / "format.log") as formatter:
            if formatter.wait(_START_S) != 0:
                raise ServerError(f"Kafka's storage could not be formatted:\n{formatter.output()}")

    def _write_configuration(self, properties: Mapping[str, str], listeners: Mapping[str, int]) -> None:
        controller = f"127.0.0.1:{free_port()}"
        further = "".join(f",{protocol}://127.0.0.1:{port}" for protocol, port in listeners.items())
        lines = {
            **ONE_NODE,
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}{further}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
            + "".join(f",{protocol}:{protocol}" for protocol in listeners),
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self._data),
            **properties,
        }
        self._configuration.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))


def serves(bootstrap: str) -> bool:
    """Whether a broker answers there."""
    try:
        return bool(_admin(bootstrap).list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def create_topic(bootstrap: str, name: str, partitions: int) -> None:
    """Create a topic at the broker; returns when its leaders answer. Raises `KafkaException`."""
    admin = _admin(bootstrap)
    for created in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        created.result(timeout=_ADMIN_S)
    wait_for_leaders(bootstrap, name, partitions)


def wait_for_leaders(bootstrap: str, topic: str, partitions: int) -> None:
    """Return when the leaders of so many partitions answer for them: a broker is named as the leader of one
    that is new before it knows so itself. Raises `TimeoutError`."""
    options = {"bootstrap.servers": bootstrap, "group.id": "nobody", "log_level": 0}
    client, deadline = Consumer(options), time.monotonic() + _ADMIN_S
    try:
        for number in range(partitions):
            while not _leader_answers(client, TopicPartition(topic, number)):
                if time.monotonic() > deadline:
                    raise TimeoutError(f"{topic}/{number} has no leader within {_ADMIN_S:g} s")
                time.sleep(_POLL_S)
    finally:
        client.close()


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def _leader_answers(client: Consumer, partition: TopicPartition) -> bool:
    try:
        client.get_watermark_offsets(partition, timeout=_ANSWER_S)
    except KafkaException:
        return False
    return True


def _java() -> str:
    found = shutil.which("java")
    if found is None:
        raise MissingPartError("Java", "run `make setup-tests`, or: apt-get install -y default-jre-headless")
    return found


def _version(jars: Path) -> str:
    jar = next(jars.glob("kafka_2.13-*.jar"), None)
    if jar is None:
        raise MissingPartError(
            "Apache Kafka", "run `make setup-tests` (needs Maven: apt-get install -y maven)"
        )
    return f"{jar.stem.removeprefix('kafka_2.13-')} (jars, KRaft)"

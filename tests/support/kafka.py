"""Apache Kafka itself (KRaft, one node) as a child process, from the jars that `make` fetches with Maven."""

import os
import shutil
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.support.certificates import Certificates
from tests.support.components import missing
from tests.support.ports import free_port
from tests.support.processes import ServerProcess

JARS = Path(os.environ.get("DOORSTEP_TEST_KAFKA_JARS", Path(__file__).parents[2] / "build" / "kafka"))
START_TIMEOUT_S = 60.0

_JAVA_OPTIONS = (
    "-Xmx512m",
    "-Xms256m",
    # A broker of a test lives for seconds: start fast rather than run fast.
    "-XX:TieredStopAtLevel=1",
    "-XX:+UseSerialGC",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS",
)

PROPERTIES = {
    "process.roles": "broker,controller",
    "node.id": "1",
    "controller.listener.names": "CONTROLLER",
    "inter.broker.listener.name": "PLAINTEXT",
    "auto.create.topics.enable": "true",
    "num.partitions": "1",
    "default.replication.factor": "1",
    "offsets.topic.replication.factor": "1",
    "offsets.topic.num.partitions": "1",
    "transaction.state.log.replication.factor": "1",
    "transaction.state.log.min.isr": "1",
    "transaction.state.log.num.partitions": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "message.max.bytes": str(8 << 20),
    "replica.fetch.max.bytes": str(8 << 20),
    "log.index.size.max.bytes": str(1 << 20),
    "log.cleaner.enable": "false",
    # A broker that was killed is known as dead soon, so that it can come back soon.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def java() -> str:
    """Path of the `java` command; skips the test where there is none."""
    found = shutil.which("java")
    if found is None:
        missing("Java", "run `make setup-tests`, or: apt-get install -y default-jre-headless")
    return found


def kafka_version() -> str:
    """Version of the jars; skips the test where there are none."""
    jar = next(JARS.glob("kafka_2.13-*.jar"), None)
    if jar is None:
        missing("Apache Kafka", "run `make setup-tests` (needs Maven: apt-get install -y maven)")
    return jar.stem.removeprefix("kafka_2.13-")


class JarKafka:
    """`KafkaServer` as a Java process. Data, configuration and log (`kafka.log`) are in `directory`."""

    def __init__(
        self,
        directory: Path,
        properties: Mapping[str, str] | None = None,
        listeners: Mapping[str, int] | None = None,
    ) -> None:
        """`properties`: broker settings over the usual ones of the tests. `listeners`: security protocol ->
        port of further listeners."""
        self._java = java()
        self._version = kafka_version()
        self._directory = directory
        self._port = free_port()
        self._configuration = directory / "server.properties"
        self._data = directory / "data"
        self._write_configuration(properties or {}, listeners or {})
        self._process = ServerProcess(
            self._command("kafka.Kafka", str(self._configuration)), log=directory / "kafka.log"
        )

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def version(self) -> str:
        return f"{self._version} (jars, KRaft)"

    @property
    def process(self) -> ServerProcess:
        """The Java process, for faults that `stop` does not know."""
        return self._process

    def start(self) -> None:
        if self._process.running:
            return
        if not self._data.exists():
            self._format()
        self._process.start()
        self._process.wait_until(self._serves, what=f"Kafka at {self.bootstrap}", timeout_s=START_TIMEOUT_S)

    def stop(self, *, kill: bool = False) -> None:
        if kill:
            self._process.kill()
        else:
            self._process.stop()

    def create_topic(self, name: str, *, partitions: int = 1) -> None:
        create_topic(self.bootstrap, name, partitions)

    def _format(self) -> None:
        """Give the data directory its cluster id, which a broker wants to find at its first start."""
        formatter = ServerProcess(
            self._command(
                "kafka.tools.StorageTool", "format",
                "--cluster-id", uuid.uuid4().hex[:22],
                "--config", str(self._configuration),
            ),
            log=self._directory / "format.log",
        )  # fmt: skip
        formatter.start()
        if formatter.wait(START_TIMEOUT_S) != 0:
            raise RuntimeError(f"Kafka's storage could not be formatted:\n{formatter.output()}")
        formatter.stop()

    def _write_configuration(self, properties: Mapping[str, str], listeners: Mapping[str, int]) -> None:
        controller = f"127.0.0.1:{free_port()}"
        further = "".join(f",{protocol}://127.0.0.1:{port}" for protocol, port in listeners.items())
        lines = PROPERTIES | {
            "listeners": f"PLAINTEXT://{self.bootstrap},CONTROLLER://{controller}{further}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT"
            + "".join(f",{protocol}:{protocol}" for protocol in listeners),
            "controller.quorum.voters": f"1@{controller}",
            "log.dirs": str(self._data),
        }
        lines |= properties
        self._configuration.write_text("".join(f"{name}={value}\n" for name, value in lines.items()))

    def _command(self, main_class: str, *arguments: str) -> tuple[str, ...]:
        return (self._java, *_JAVA_OPTIONS, "-cp", f"{JARS}/*", main_class, *arguments)

    def _serves(self) -> bool:
        return serves(self.bootstrap)


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """A broker with a second listener that wants TLS and a password (SASL_SSL, mechanism PLAIN)."""

    server: JarKafka
    bootstrap: str
    """`host:port` of the secure listener; `server.bootstrap` is the plain one."""
    authority: Path
    username: str
    password: str


def secure_kafka(directory: Path, certificates: Certificates) -> SecureKafka:
    """Set up a `SecureKafka`; its `server` is not started yet."""
    port, username, password = free_port(), "doorstep", uuid.uuid4().hex
    properties = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_ssl.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{username}="{password}";'
        ),
        "ssl.keystore.type": "PEM",
        "ssl.keystore.location": str(certificates.server),
    }
    server = JarKafka(directory, properties, {"SASL_SSL": port})
    return SecureKafka(server, f"127.0.0.1:{port}", certificates.authority, username, password)


def serves(bootstrap: str) -> bool:
    """Whether a broker answers there."""
    try:
        return bool(_admin(bootstrap).list_topics(timeout=1).brokers)
    except KafkaException:
        return False


def create_topic(bootstrap: str, name: str, partitions: int) -> None:
    """What `KafkaServer.create_topic` promises, for the broker at `bootstrap`."""
    admin = _admin(bootstrap)
    for created in admin.create_topics([NewTopic(name, partitions, 1)]).values():
        created.result(timeout=30)
    deadline = time.monotonic() + 30
    while not _has_leaders(admin, name, partitions):
        if time.monotonic() > deadline:
            raise TimeoutError(f"topic {name} has no leaders 30 s after it was created")
        time.sleep(0.02)


def _admin(bootstrap: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": bootstrap, "log_level": 0})


def _has_leaders(admin: AdminClient, topic: str, partitions: int) -> bool:
    found = admin.list_topics(topic, timeout=5).topics[topic].partitions
    return len(found) == partitions and all(partition.leader >= 0 for partition in found.values())

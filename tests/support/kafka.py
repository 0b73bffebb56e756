"""The Kafka of the tests: a broker that starts fast, creates topics on first use and takes large records.

As a program it writes Java's archive of Kafka's classes, with which a broker starts in half the time.
"""

import os
import sys
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import AclBinding, AclBindingFilter, AclOperation, AclPermissionType
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType

from doorstep.development.kafka import KafkaProcess, MissingPartError
from doorstep.development.ports import free_port
from tests.support.certificates import Certificates
from tests.support.components import missing

JARS = Path(os.environ.get("DOORSTEP_TEST_KAFKA_JARS", Path(__file__).parents[2] / "build" / "kafka"))

_CLASSES = JARS / "classes.jsa"
_ADMIN_S = 30.0
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
_QUICKER = (f"-XX:SharedArchiveFile={_CLASSES}", "-Xlog:cds=off", "-Xlog:cds+dynamic=off")
"""Where there is no such archive, or it does not fit, Java loads the classes as ever, and says nothing."""

PROPERTIES = {
    "auto.create.topics.enable": "true",
    "num.partitions": "1",
    "default.replication.factor": "1",
    "share.coordinator.state.topic.replication.factor": "1",
    "share.coordinator.state.topic.min.isr": "1",
    "share.coordinator.state.topic.num.partitions": "1",
    "group.min.session.timeout.ms": "500",
    "message.max.bytes": str(8 << 20),
    "replica.fetch.max.bytes": str(8 << 20),
    "log.index.size.max.bytes": str(1 << 20),
    "log.cleaner.enable": "false",
    # A broker that was killed is known as dead soon, so that it can come back soon.
    "broker.session.timeout.ms": "3000",
    "broker.heartbeat.interval.ms": "500",
}


def kafka_process(
    directory: Path,
    properties: Mapping[str, str],
    listeners: Mapping[str, int] | None = None,
    host: str = "127.0.0.1",
) -> KafkaProcess:
    """A broker, not started yet, with `properties` over the usual ones of the tests; skips the test where
    there is no Java or no Kafka."""
    try:
        return KafkaProcess(
            directory,
            JARS,
            PROPERTIES | dict(properties),
            java_options=(*_JAVA_OPTIONS, *_QUICKER),
            listeners=listeners,
            host=host,
        )
    except MissingPartError as error:
        missing(error.name, error.remedy)


@dataclass(frozen=True, slots=True)
class SecureKafka:
    """A broker with a second listener that wants TLS and a password (SASL_SSL, mechanism PLAIN)."""

    server: KafkaProcess
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
    server = kafka_process(directory, properties, {"SASL_SSL": port})
    return SecureKafka(server, f"127.0.0.1:{port}", certificates.authority, username, password)


@dataclass(frozen=True, slots=True)
class GuardedKafka:
    """A broker with a second listener that wants a password; its user may do what no rule forbids.

    Topics do not come into being by themselves.
    """

    server: KafkaProcess
    bootstrap: str
    """`host:port` of the second listener; who comes through the plain one, `server.bootstrap`, may do all."""
    username: str
    password: str
    data: Path
    """Where its partitions are, each in a directory of its name."""

    def allow(
        self, kind: ResourceType, name: str, operation: AclOperation, who: str | None = None
    ) -> AclBindingFilter:
        """Make a rule for this user; `who`: for another. Returns when the broker goes by it: whoever is not
        named in any rule may do all; once there is a rule, nothing but that."""
        user = f"User:{who or self.username}"
        rule = (kind, name, ResourcePatternType.LITERAL, user, "*", operation, AclPermissionType.ALLOW)
        admin = self._admin()
        for made in admin.create_acls([AclBinding(*rule)]).values():
            made.result(timeout=_ADMIN_S)
        self._wait_until_rules(admin, AclBindingFilter(*rule), 1)
        return AclBindingFilter(*rule)

    def withdraw(self, rule: AclBindingFilter) -> None:
        """Take a rule back; returns when the broker no longer goes by it."""
        admin = self._admin()
        for deleted in admin.delete_acls([rule]).values():
            deleted.result(timeout=_ADMIN_S)
        self._wait_until_rules(admin, rule, 0)

    @staticmethod
    def _wait_until_rules(admin: AdminClient, rule: AclBindingFilter, count: int) -> None:
        """The controller has accepted them; the broker that is asked here knows of it a little later."""
        deadline = time.monotonic() + _ADMIN_S
        while len(admin.describe_acls(rule).result(timeout=_ADMIN_S)) != count:
            assert time.monotonic() < deadline, "the broker knows nothing of the rule"
            time.sleep(0.02)

    def _admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.server.bootstrap})


def guarded_kafka(directory: Path) -> GuardedKafka:
    """Set up a `GuardedKafka`; its `server` is not started yet."""
    port, username, password = free_port(), "doorstep", uuid.uuid4().hex
    properties = {
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.sasl_plaintext.plain.sasl.jaas.config": (
            f'org.apache.kafka.common.security.plain.PlainLoginModule required user_{username}="{password}";'
        ),
        "auto.create.topics.enable": "false",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "allow.everyone.if.no.acl.found": "true",
        "super.users": "User:ANONYMOUS",
    }
    server = kafka_process(directory, properties, {"SASL_PLAINTEXT": port})
    return GuardedKafka(server, f"127.0.0.1:{port}", username, password, directory / "data")


def second_broker(directory: Path, first: Path) -> KafkaProcess:
    """Another broker, not started yet, of the cluster whose first one has its files in `first`."""
    theirs = _properties(first / "server.properties")
    role = {"process.roles": "broker", "node.id": "2"}
    role |= {"controller.quorum.voters": theirs["controller.quorum.voters"]}
    broker = kafka_process(directory, role)
    with (directory / "server.properties").open("a") as properties:
        properties.write(f"listeners=PLAINTEXT://{broker.bootstrap}\n")  # without the controller's
    cluster_id = _properties(first / "data" / "meta.properties")["cluster.id"]
    (directory / "data").mkdir()
    (directory / "data" / "meta.properties").write_text(f"version=1\ncluster.id={cluster_id}\nnode.id=2\n")
    return broker


def delete_topics(bootstrap: str) -> None:
    """Delete all topics but Kafka's own."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topics = [name for name in admin.list_topics(timeout=_ADMIN_S).topics if not name.startswith("__")]
    for deleted in admin.delete_topics(topics).values() if topics else ():
        deleted.result(_ADMIN_S)


def _write_classes() -> None:
    """Start a broker and end it: Java writes what it has loaded by then."""
    options = (*_JAVA_OPTIONS, f"-XX:ArchiveClassesAtExit={_CLASSES}")
    with TemporaryDirectory() as directory:
        broker = KafkaProcess(Path(directory), JARS, PROPERTIES, java_options=options)
        broker.start()
        broker.create_topic("any")
        broker.stop()


def _properties(file: Path) -> dict[str, str]:
    lines = [line.partition("=") for line in file.read_text().splitlines() if not line.startswith("#")]
    return {name: value for name, _, value in lines}


if __name__ == "__main__":
    try:
        _write_classes()
    except MissingPartError as error:
        sys.exit(str(error))

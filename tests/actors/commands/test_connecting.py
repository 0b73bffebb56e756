"""`doorstep check --connect`, on a real Kafka, Valkey and identity provider."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin._acl import AclOperation
from confluent_kafka.admin._resource import ResourceType
from typer.testing import CliRunner

from doorstep.actors.commands.verbs import app
from doorstep.development.ports import free_port
from tests.conftest import ValkeyFactory
from tests.gateway.identity import IdentityProvider, SigningKey
from tests.support.kafka import GuardedKafka, SecureKafka, guarded_kafka
from tests.support.names import Names
from tests.support.servers import KafkaServer, ValkeyServer

ROUTES = """
[context.registered]
topics = ["{token}.registered"]
contract = "BatchEssaysRegisteredV1"
batch = "data.entity_id"
user = "data.user_id"

[route.failed]
topics = ["{token}.failed"]
contract = "EssayValidationFailedV1"
user_from_batch = "data.entity_id"
event = "essay.validation.failed"

[route.failed.data]
batch_id = "data.entity_id"
"""


class Check:
    """The command, with settings of its own."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path, names: Names) -> None:
        self.topics = [names.topic("registered"), names.topic("failed"), names.topic("dead")]
        routes = directory / "routes.toml"
        routes.write_text(ROUTES.format(token=self.topics[0].removesuffix(".registered")))
        self._monkeypatch = monkeypatch
        self.unknown: list[str] = []
        """The findings of the last run of which nobody can say whether they are wrong."""
        self.set(
            DOORSTEP_KAFKA__GROUP_ID=names.group(),
            DOORSTEP_KAFKA__DEAD_LETTER_TOPIC=self.topics[2],
            DOORSTEP_ROUTES=str(routes),
            DOORSTEP_AUTH__HS256_SECRET="a secret of the tests, long enough for HS256",
            DOORSTEP_GATEWAY__PORT=str(free_port()),
            DOORSTEP_ADMIN__PORT=str(free_port()),
        )

    def set(self, **env: str) -> None:
        """Settings, by the names of their variables."""
        for name, value in env.items():
            self._monkeypatch.setenv(name, value)

    def __call__(self) -> tuple[int, dict[str, str]]:
        """The exit status, and what is wrong: by the first two words of each finding, the rest of it."""
        result = CliRunner().invoke(app, ["check", "--connect"])
        lines = result.stdout.splitlines()
        assert all(line.startswith(("OK     ", "WRONG  ", "UNKNOWN ")) for line in lines), result.output
        self.unknown = [line for line in lines if line.startswith("UNKNOWN")]
        wrong = [line.removeprefix("WRONG  ") for line in lines if line.startswith("WRONG")]
        return result.exit_code, {" ".join(line.split()[:2]).rstrip(":"): line for line in wrong}


@pytest.fixture
def check(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, names: Names, kafka: KafkaServer, valkey: ValkeyServer
) -> Check:
    """All is well but that no topic exists, on a broker that creates topics for whoever asks carelessly."""
    command = Check(monkeypatch, tmp_path, names)
    command.set(DOORSTEP_KAFKA__BOOTSTRAP_SERVERS=kafka.bootstrap, DOORSTEP_REDIS__URL=valkey.url)
    return command


def test_all_is_well(check: Check, kafka: KafkaServer) -> None:
    for topic in check.topics:
        kafka.create_topic(topic)
    status, wrong = check()
    assert (wrong, status) == ({}, 0)


def test_topics_that_do_not_exist_are_named_and_not_created(check: Check, kafka: KafkaServer) -> None:
    registered, failed, dead = check.topics
    kafka.create_topic(failed)
    for _ in range(2):
        status, wrong = check()
        assert status == 1
        assert set(wrong) == {f"topic {registered}", "dead-letter topic"}
        assert "does not exist: create it" in wrong[f"topic {registered}"]
        assert "its first record does, and Doorstep reads it" in wrong[f"topic {registered}"]
        assert dead in wrong["dead-letter topic"]
        assert "the first dead letter does" in wrong["dead-letter topic"]


def test_brokers_that_do_not_answer_are_told_with_the_reason(check: Check) -> None:
    check.set(DOORSTEP_KAFKA__BOOTSTRAP_SERVERS=f"127.0.0.1:{free_port()}")
    status, wrong = check()
    assert status == 1
    assert list(wrong) == ["Kafka at"]
    assert "Connection refused" in wrong["Kafka at"]


def test_a_broker_that_only_stands_for_kafka_is_told_as_that(check: Check) -> None:
    """As the demo's, with which all is well."""
    standing_in = Producer({"bootstrap.servers": "embedded", "test.mock.num.brokers": 1, "log_level": 0})
    (broker,) = standing_in.list_topics(timeout=10).brokers.values()
    check.set(DOORSTEP_KAFKA__BOOTSTRAP_SERVERS=f"{broker.host}:{broker.port}")
    assert check() == (0, {})
    assert "only stands for Kafka" in check.unknown[0]
    standing_in.close()


def test_a_wrong_password_is_told_as_what_it_is(check: Check, secure_kafka: SecureKafka) -> None:
    check.set(
        DOORSTEP_KAFKA__BOOTSTRAP_SERVERS=secure_kafka.bootstrap,
        DOORSTEP_KAFKA__SECURITY_PROTOCOL="SASL_SSL",
        DOORSTEP_KAFKA__SSL_CAFILE=str(secure_kafka.authority),
        DOORSTEP_KAFKA__SASL_USERNAME=secure_kafka.username,
        DOORSTEP_KAFKA__SASL_PASSWORD="wrong",
    )
    status, wrong = check()
    assert status == 1
    assert "uthentication failed" in wrong["Kafka at"]


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[GuardedKafka]:
    """A Kafka whose second listener wants a password, so that its user can be forbidden something."""
    directory = tmp_path / "guarded"
    directory.mkdir()
    kafka = guarded_kafka(directory)
    kafka.server.start()
    yield kafka
    kafka.server.stop()


def test_missing_rights_to_topics_and_group_are_told(
    check: Check, guarded: GuardedKafka, names: Names
) -> None:
    check.set(
        DOORSTEP_KAFKA__BOOTSTRAP_SERVERS=guarded.bootstrap,
        DOORSTEP_KAFKA__SECURITY_PROTOCOL="SASL_PLAINTEXT",
        DOORSTEP_KAFKA__SASL_USERNAME=guarded.username,
        DOORSTEP_KAFKA__SASL_PASSWORD=guarded.password,
    )
    _, failed, dead = check.topics
    for topic in check.topics:
        guarded.server.create_topic(topic)
    status, wrong = check()
    assert (wrong, status) == ({}, 0)
    guarded.allow(ResourceType.TOPIC, failed, AclOperation.DESCRIBE)
    guarded.allow(ResourceType.TOPIC, dead, AclOperation.READ)
    guarded.allow(ResourceType.GROUP, names.group(), AclOperation.DELETE)
    status, wrong = check()
    assert status == 1
    assert set(wrong) == {f"topic {failed}", "dead-letter topic", "consumer group"}
    assert "no right to read it: grant READ" in wrong[f"topic {failed}"]
    assert "no right to write it: grant WRITE" in wrong["dead-letter topic"]
    assert "grant READ on the group" in wrong["consumer group"]
    registered, hidden = check.topics[0], names.group("hidden")
    check.set(DOORSTEP_KAFKA__GROUP_ID=hidden)
    guarded.allow(ResourceType.TOPIC, registered, AclOperation.READ, "somebody-else")
    guarded.allow(ResourceType.GROUP, hidden, AclOperation.READ, "somebody-else")
    _, wrong = check()
    assert "no right to describe it: grant READ and DESCRIBE" in wrong[f"topic {registered}"]
    assert "no right to describe it, nor to read as this group" in wrong["consumer group"]


def test_a_redis_that_does_not_answer_is_told(check: Check) -> None:
    check.set(DOORSTEP_REDIS__URL=f"redis://127.0.0.1:{free_port()}")
    status, wrong = check()
    assert status == 1
    assert "cannot be reached" in wrong["Redis: Redis"]


def test_a_redis_that_evicts_or_whose_user_may_not_write_is_told(
    check: Check, valkey_factory: ValkeyFactory
) -> None:
    server = valkey_factory(maxmemory_policy="allkeys-lru", user="default on nopass ~* &* +@all -xadd")
    check.set(DOORSTEP_REDIS__URL=server.url)
    _, wrong = check()
    assert "maxmemory-policy noeviction" in wrong["Redis: answers,"]
    assert "+xadd" in wrong["Redis: its"]


def test_a_redis_that_does_not_let_us_in_is_told(check: Check, valkey: ValkeyServer) -> None:
    check.set(DOORSTEP_REDIS__URL=valkey.url.replace("redis://", "redis://nobody:wrong@"))
    status, wrong = check()
    assert status == 1
    assert any("WRONGPASS" in finding for finding in wrong.values())


def test_a_key_set_is_fetched(check: Check) -> None:
    with IdentityProvider(SigningKey("k", "ES256").jwk()) as provider:
        check.set(DOORSTEP_AUTH__JWKS_URL=provider.url)
        _, wrong = check()
        assert provider.fetches == 1
        assert "key set" not in wrong
        provider.keys.clear()
        _, wrong = check()
        assert provider.url in wrong["key set"]
        provider.status = 500
        _, wrong = check()
        assert "500" in wrong["key set"]
    _, wrong = check()
    assert provider.url in wrong["key set"]
    assert "DOORSTEP_AUTH__JWKS_URL" in wrong["key set"]


@pytest.mark.parametrize("port", ["DOORSTEP_ADMIN__PORT", "DOORSTEP_GATEWAY__PORT"])
def test_a_port_that_others_have_is_told(check: Check, port: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        check.set(**{port: str(other.getsockname()[1])})
        _, wrong = check()
    (finding,) = [each for each in wrong.values() if port in each]
    assert "Address already in use" in finding


def test_a_host_that_is_not_ours_is_told(check: Check) -> None:
    check.set(DOORSTEP_GATEWAY__HOST="192.0.2.1")
    _, wrong = check()
    (finding,) = [each for each in wrong.values() if "DOORSTEP_GATEWAY__HOST" in each]
    assert "can't listen there" in finding


def test_a_wrong_configuration_is_told_before_anything_is_tried(check: Check) -> None:
    check.set(DOORSTEP_KAFKA__BOOTSTRAP_SERVER="x")
    result = CliRunner().invoke(app, ["check", "--connect"])
    assert result.exit_code == 2
    assert result.stdout == ""

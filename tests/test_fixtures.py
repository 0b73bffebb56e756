"""The servers of the tests keep the promises that the other tests rely on."""

import socket
import subprocess
from pathlib import Path

import pytest
import redis
from confluent_kafka import Consumer, KafkaException, Producer
from confluent_kafka.admin import AdminClient

from tests.conftest import KafkaFactory, ProxyFactory, ValkeyFactory
from tests.support.chromium import chromium_command
from tests.support.kafka import SecureKafka
from tests.support.names import Names
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.valkey import TlsValkey, ValkeyCluster


def _produce(kafka: KafkaServer, topic: str, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "message.max.bytes": 8 << 20})
    producer.produce(topic, value)
    assert producer.flush(30) == 0


def _first_value(kafka: KafkaServer, topic: str, group: str) -> bytes | None:
    consumer = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": group, "auto.offset.reset": "earliest"}
    )
    consumer.subscribe([topic])
    message = consumer.poll(30)
    consumer.close()
    assert message is not None
    assert message.error() is None
    return message.value()


def test_kafka_takes_large_records_for_topics_it_has_not_seen(kafka: KafkaServer, names: Names) -> None:
    _produce(kafka, names.topic(), bytes(7 << 20))
    value = _first_value(kafka, names.topic(), names.group())
    assert value is not None
    assert len(value) == 7 << 20


def test_kafka_keeps_data_and_address_over_stop_and_kill(kafka_factory: KafkaFactory, names: Names) -> None:
    kafka = kafka_factory()
    before = kafka.bootstrap
    kafka.create_topic(names.topic(), partitions=1)
    _produce(kafka, names.topic(), b"kept")
    for kill in (False, True):
        kafka.stop(kill=kill)
        kafka.start()
        assert _first_value(kafka, names.topic(), names.group(str(kill))) == b"kept"
    assert kafka.bootstrap == before


def test_valkey_keeps_data_and_address_over_stop_and_kill(valkey_factory: ValkeyFactory) -> None:
    valkey = valkey_factory()
    before = valkey.url
    for kill in (False, True):
        with redis.Redis.from_url(valkey.url) as client:
            client.set("kept", str(kill))
        valkey.stop(kill=kill)
        valkey.start()
        with redis.Redis.from_url(valkey.url) as client:
            assert client.get("kept") == str(kill).encode()
    assert valkey.url == before


def test_shared_valkey_starts_empty(valkey: ValkeyServer) -> None:
    with redis.Redis.from_url(valkey.url) as client:
        assert client.dbsize() == 0
        client.set("left", "behind")


test_shared_valkey_starts_empty_again = test_shared_valkey_starts_empty


def test_cluster_serves_every_slot(valkey_cluster: ValkeyCluster) -> None:
    with redis.RedisCluster.from_url(valkey_cluster.url) as client:
        for number in range(100):
            client.set(f"key{number}", number)
        assert {client.get(f"key{number}") for number in range(100)} == {b"%d" % n for n in range(100)}


def test_secure_kafka_wants_tls_and_the_password(secure_kafka: SecureKafka) -> None:
    def brokers(**client: str) -> int:
        admin = AdminClient(
            {"bootstrap.servers": secure_kafka.bootstrap, "log_level": 0, "sasl.mechanism": "PLAIN", **client}
        )
        return len(admin.list_topics(timeout=4).brokers)

    good = {
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(secure_kafka.authority),
        "sasl.username": secure_kafka.username,
        "sasl.password": secure_kafka.password,
    }
    assert brokers(**good) == 1
    with pytest.raises(KafkaException):
        brokers(**good | {"sasl.password": "wrong"})
    with pytest.raises(KafkaException):
        brokers(**good | {"security.protocol": "SASL_PLAINTEXT"})


def test_tls_valkey_wants_tls_and_proves_itself(tls_valkey: TlsValkey) -> None:
    with redis.Redis.from_url(tls_valkey.url, ssl_ca_certs=str(tls_valkey.authority)) as client:
        assert client.ping()
    with redis.Redis.from_url(tls_valkey.url) as stranger, pytest.raises(redis.ConnectionError):
        stranger.ping()
    plain = tls_valkey.url.replace("rediss", "redis")
    with redis.Redis.from_url(plain) as client, pytest.raises(redis.ConnectionError):
        client.ping()


def test_proxy_cuts_and_keeps_replies_back(valkey: ValkeyServer, proxy_factory: ProxyFactory) -> None:
    proxy = proxy_factory(valkey.url)

    def connect() -> socket.socket:
        return socket.create_connection(("127.0.0.1", proxy.port), timeout=5)

    with connect() as client:
        client.sendall(b"PING\r\n")
        assert client.recv(100) == b"+PONG\r\n"
        proxy.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    with connect() as client, redis.Redis.from_url(valkey.url) as direct:
        proxy.hold_replies()
        client.sendall(b"SET a 4\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.recv(100)
        assert direct.get("a") == b"4"
        proxy.release_replies()
        assert client.recv(100) == b"+OK\r\n"


def test_chromium_renders(chromium: Path, tmp_path: Path) -> None:
    page = "data:text/html,<script>document.write(6*7)</script>"
    command = chromium_command(chromium, tmp_path, "--dump-dom", page)
    assert "42" in subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout

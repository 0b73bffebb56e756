"""The options of the Kafka clients are those of the settings, and none of aiokafka's unsafe defaults."""

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from doorstep.actors.kafka.options import (
    client_options,
    connection_options,
    group_options,
    producer_options,
    reader_options,
)
from doorstep.config.settings import KafkaSettings
from tests.support.certificates import make_certificates


def test_nothing_is_left_to_unsafe_defaults() -> None:
    options = group_options(KafkaSettings(bootstrap_servers="broker:9092", start="latest"), "consumer-0")
    assert options["enable.auto.commit"] is False
    assert options["enable.auto.offset.store"] is False
    assert options["isolation.level"] == "read_committed"
    assert options["auto.offset.reset"] == "earliest"
    assert options["group.id"] == "doorstep"
    read = reader_options(KafkaSettings())
    assert (read["enable_auto_commit"], read["isolation_level"]) == (False, "read_committed")
    assert "group_id" not in read
    produced = producer_options(KafkaSettings())
    assert (produced["enable_idempotence"], produced["acks"]) == (True, "all")
    assert produced["compression_type"] is not None


def test_partitions_that_stay_are_not_taken_away() -> None:
    assert group_options(KafkaSettings(), "me")["partition.assignment.strategy"] == "cooperative-sticky"


def test_plain_connections_have_no_secrets() -> None:
    options = connection_options(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert options["bootstrap_servers"] == "a:1,b:2"
    assert options["security_protocol"] == "PLAINTEXT"
    assert options["ssl_context"] is None


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_sasl_is_passed_through(protocol: str) -> None:
    login = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "me", "sasl_password": SecretStr("secret")}
    options = connection_options(KafkaSettings.model_validate({"security_protocol": protocol} | login))
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert options["sasl_plain_username"] == "me"
    assert options["sasl_plain_password"] == "secret"
    assert isinstance(options["ssl_context"], ssl.SSLContext) == (protocol == "SASL_SSL")


def test_librdkafka_is_told_the_same(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    login = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "me", "sasl_password": SecretStr("secret")}
    tls = {"security_protocol": "SASL_SSL", "ssl_cafile": files.authority, "ssl_certfile": files.server}
    options = client_options(KafkaSettings.model_validate(login | tls))
    assert options["security.protocol"] == "SASL_SSL"
    assert (options["sasl.mechanism"], options["sasl.username"]) == ("SCRAM-SHA-512", "me")
    assert options["sasl.password"] == "secret"
    assert options["ssl.ca.location"] == str(files.authority)
    assert options["ssl.key.location"] == options["ssl.certificate.location"] == str(files.server)
    plain = client_options(KafkaSettings())
    assert not [name for name in plain if name.startswith(("sasl.", "ssl."))]


def test_sasl_without_a_login_is_refused() -> None:
    with pytest.raises(ValueError, match="sasl_username and"):
        connection_options(KafkaSettings(security_protocol="SASL_SSL", sasl_username="me"))


def test_certificates_are_loaded(tmp_path: Path) -> None:
    files = make_certificates(tmp_path)
    options = connection_options(
        KafkaSettings(
            security_protocol="SSL",
            ssl_cafile=files.authority,
            ssl_certfile=files.server,
            ssl_keyfile=files.server,
        )
    )
    context = options["ssl_context"]
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert [ca["subject"] for ca in context.get_ca_certs()] == [
        ((("commonName", "Doorstep test authority"),),)
    ]


def test_a_missing_certificate_is_named(tmp_path: Path) -> None:
    missing = tmp_path / "authority.pem"
    with pytest.raises(OSError):  # noqa: PT011 - of whatever kind
        connection_options(KafkaSettings(security_protocol="SSL", ssl_cafile=missing))

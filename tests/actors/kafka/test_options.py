"""The options of the Kafka clients are those of the settings, and none of the libraries' unsafe defaults."""

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from doorstep.actors.kafka.options import (
    client_options,
    connection_options,
    dead_letter_options,
    group_options,
    producer_options,
    query_options,
    reader_options,
)
from doorstep.config.settings import KafkaSettings
from tests.support.certificates import make_certificates


def test_nothing_is_left_to_unsafe_defaults() -> None:
    settings = KafkaSettings(bootstrap_servers="broker:9092", start="latest")
    read = reader_options(settings)
    assert (read["enable_auto_commit"], read["isolation_level"]) == (False, "read_committed")
    assert read["auto_offset_reset"] == "earliest"
    assert "group_id" not in read
    member = group_options(settings, "consumer-0", "an-id")
    assert (member["enable.auto.commit"], member["isolation.level"]) == (False, "read_committed")
    assert member["auto.offset.reset"] == "earliest"
    assert member["group.id"] == "doorstep"
    assert "allow.auto.create.topics" not in member  # off, unless somebody asks for it
    produced = producer_options(KafkaSettings())
    assert (produced["enable_idempotence"], produced["acks"]) == (True, "all")
    assert produced["compression_type"] is not None
    dead = dead_letter_options(KafkaSettings())
    assert (dead["enable.idempotence"], dead["acks"]) == (True, "all")
    assert dead["max.in.flight.requests.per.connection"] == 1


def test_a_session_may_be_longer_than_a_member_may_be_silent() -> None:
    for session_ms in (1000, 120_000):
        options = group_options(KafkaSettings(session_timeout_ms=session_ms), "consumer-0", "an-id")
        assert options["max.poll.interval.ms"] >= options["session.timeout.ms"] == session_ms
        assert options["heartbeat.interval.ms"] * 3 <= session_ms


def test_partitions_that_stay_are_not_taken_away() -> None:
    assert (
        group_options(KafkaSettings(), "me", "an-id")["partition.assignment.strategy"] == "cooperative-sticky"
    )


def test_plain_connections_have_no_secrets() -> None:
    options = connection_options(KafkaSettings(bootstrap_servers="a:1,b:2"))
    assert options["bootstrap_servers"] == "a:1,b:2"
    assert options["security_protocol"] == "PLAINTEXT"
    assert options["ssl_context"] is None
    login = KafkaSettings(sasl_username="me", sasl_password=SecretStr("secret"))
    assert not [name for name in client_options(login) if name.startswith(("sasl", "ssl"))]


@pytest.mark.parametrize("protocol", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_sasl_is_passed_through(protocol: str) -> None:
    login = {"sasl_mechanism": "SCRAM-SHA-512", "sasl_username": "me", "sasl_password": SecretStr("secret")}
    settings = KafkaSettings.model_validate({"security_protocol": protocol} | login)
    options = connection_options(settings)
    assert options["sasl_mechanism"] == "SCRAM-SHA-512"
    assert options["sasl_plain_username"] == "me"
    assert options["sasl_plain_password"] == "secret"
    assert isinstance(options["ssl_context"], ssl.SSLContext) == (protocol == "SASL_SSL")
    named = query_options(settings)
    assert (named["sasl.mechanism"], named["sasl.username"]) == ("SCRAM-SHA-512", "me")
    assert named["sasl.password"] == "secret"


def test_sasl_without_a_login_is_refused() -> None:
    with pytest.raises(ValueError, match="sasl_username and"):
        connection_options(KafkaSettings(security_protocol="SASL_SSL", sasl_username="me"))
    with pytest.raises(ValueError, match="sasl_username and"):
        client_options(KafkaSettings(security_protocol="SASL_SSL", sasl_username="me"))


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


def test_a_key_may_be_in_one_file_with_its_certificate() -> None:
    both = Path("both.pem")
    options = client_options(KafkaSettings(security_protocol="SSL", ssl_certfile=both))
    assert options["ssl.certificate.location"] == options["ssl.key.location"] == "both.pem"
    options = client_options(
        KafkaSettings(
            security_protocol="SSL",
            ssl_certfile=both,
            ssl_keyfile=Path("key.pem"),
            ssl_password=SecretStr("secret"),
        )
    )
    assert options["ssl.key.location"] == "key.pem"
    assert options["ssl.key.password"] == "secret"

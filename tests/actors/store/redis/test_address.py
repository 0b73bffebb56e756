"""`redis.url` and what is around it, without a server."""

import ssl
from pathlib import Path

import pytest
from pydantic import SecretStr

from doorstep.actors.store.redis.address import parse_target
from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.actors.store.redis.link import Address
from doorstep.config.settings import RedisSettings
from tests.support.certificates import Certificates


def settings(url: str, *, cluster: bool = False) -> RedisSettings:
    return RedisSettings(url=SecretStr(url), cluster=cluster, timeout_s=3)


@pytest.mark.parametrize(
    ("url", "address", "db"),
    [
        ("redis://host", Address("host", 6379), 0),
        ("redis://host:7/2", Address("host", 7), 2),
        ("redis://host:7?db=3", Address("host", 7), 3),
        ("redis://[::1]:7/", Address("::1", 7), 0),
        ("unix:///run/redis.sock?db=4", Address("localhost", 0, "/run/redis.sock"), 4),
    ],
)
def test_one_server(url: str, address: Address, db: int) -> None:
    target = parse_target(settings(url))
    assert (target.addresses, target.login.db, target.service) == ((address,), db, None)
    assert (target.login.username, target.login.password, target.login.ssl) == (None, None, None)
    assert target.login.timeout_s == 3


def test_user_and_password_may_be_percent_encoded() -> None:
    login = parse_target(settings("redis://a%40b:p%3Aw%2F%C3%BC@host")).login
    assert (login.username, login.password) == ("a@b", "p:w/ü")
    assert parse_target(settings("redis://:pw@host")).login.username is None


def test_sentinels() -> None:
    target = parse_target(settings("redis+sentinel://u:p@one,two:5/our-service?db=1&sentinel_password=s%26p"))
    assert target.addresses == (Address("one", 26379), Address("two", 5))
    assert (target.service, target.login.db, target.login.password) == ("our-service", 1, "p")
    sentinel = target.sentinel_login
    assert (sentinel.username, sentinel.password, sentinel.db) == (None, "s&p", 0)


def test_seeds_of_a_cluster() -> None:
    target = parse_target(settings("redis://one:1,two", cluster=True))
    assert target.addresses == (Address("one", 1), Address("two", 6379))


def test_tls_verifies_against_the_given_authority(certificates: Certificates) -> None:
    given = RedisSettings(url=SecretStr("rediss://host"), ssl_ca_certs=certificates.authority)
    context = parse_target(given).login.ssl
    assert context is not None
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1
    sentinels = RedisSettings(url=SecretStr("rediss+sentinel://host/s"), ssl_ca_certs=certificates.authority)
    assert parse_target(sentinels).sentinel_login.ssl is not None


@pytest.mark.parametrize(
    ("url", "complaint"),
    [
        ("", "scheme"),
        ("http://:hush@host", "scheme"),
        ("redis://:hush@", "a host is missing"),
        ("redis://:hush@host:port", "[Pp]ort"),
        ("redis://:hush@host:99999", "[Pp]ort"),
        ("redis://:hush@host/x", "invalid literal"),
        ("redis+sentinel://:hush@host", "must name the service"),
        ("redis+sentinel://:hush@host,/service", "a host is missing"),
        ("redis://:hush@[::1", "Invalid"),
    ],
)
def test_complaints_name_the_setting_and_never_the_password(url: str, complaint: str) -> None:
    with pytest.raises(StoreMisconfigured, match=complaint) as caught:
        parse_target(settings(url))
    assert "redis.url" in str(caught.value)
    assert "hush" not in str(caught.value)


def test_a_cluster_has_one_database() -> None:
    with pytest.raises(StoreMisconfigured, match="no database but 0"):
        parse_target(settings("redis://host/1", cluster=True))


def test_certificates_that_are_not_there(tmp_path: Path) -> None:
    missing = RedisSettings(url=SecretStr("rediss://host"), ssl_ca_certs=tmp_path / "missing.pem")
    with pytest.raises(StoreMisconfigured, match="No such file"):
        parse_target(missing)

"""Reads `redis.url` and the settings around it."""

import ssl
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, unquote, urlsplit

from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.actors.store.redis.link import Address, Login
from doorstep.config.settings import RedisSettings

_FORMS = (
    "redis://user:password@host:6379/0, rediss://… (TLS), unix:///path/to/socket?db=0, "
    "redis+sentinel://user:password@host:26379,host:26379/service?db=0&sentinel_password=…, "
    "rediss+sentinel://… (TLS); redis://host:port,host:port with redis.cluster"
)
_TLS = {"redis": False, "rediss": True, "unix": False, "redis+sentinel": False, "rediss+sentinel": True}
_PORT, _SENTINEL_PORT = 6379, 26379


@dataclass(frozen=True, slots=True)
class Target:
    """What the settings point at: a server, the seeds of a cluster, or sentinels (`service` is set)."""

    addresses: tuple[Address, ...]
    login: Login
    service: str | None
    sentinel_login: Login


def parse_target(settings: RedisSettings) -> Target:
    """Read the settings. Raises `StoreMisconfigured` that says what is wrong, and never shows a password."""
    try:
        return _parse(settings)
    except (ValueError, OSError) as error:
        raise StoreMisconfigured(f"redis.url or redis.ssl_*: {error}; a URL has the form {_FORMS}") from error


def _parse(settings: RedisSettings) -> Target:
    parts = urlsplit(settings.url.get_secret_value())
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    if parts.scheme not in _TLS:
        raise ValueError(f"unknown scheme {parts.scheme!r}")
    userinfo, _, hosts = parts.netloc.rpartition("@")
    username, _, password = userinfo.partition(":")
    is_sentinel = parts.scheme.endswith("+sentinel")
    has_db_in_path = not is_sentinel and parts.scheme != "unix"
    path = unquote(parts.path)
    login = Login(
        username=unquote(username) or None,
        password=unquote(password) or None,
        db=_db(query.get("db") or (path.strip("/") if has_db_in_path else ""), settings.cluster),
        ssl=_tls(settings) if _TLS[parts.scheme] else None,
        timeout_s=settings.timeout_s,
    )
    sentinel_password = query.get("sentinel_password")
    return Target(
        addresses=_addresses(parts.scheme, hosts, path),
        login=login,
        service=_service(path) if is_sentinel else None,
        sentinel_login=replace(login, username=None, password=sentinel_password, db=0),
    )


def _db(text: str, cluster: bool) -> int:
    db = int(text or "0")
    if cluster and db:
        raise ValueError("a cluster has no database but 0")
    return db


def _service(path: str) -> str:
    service = path.strip("/")
    if not service:
        raise ValueError("the path must name the service that the sentinels watch")
    return service


def _addresses(scheme: str, hosts: str, path: str) -> tuple[Address, ...]:
    if scheme == "unix":
        return (Address("localhost", 0, path),)
    default_port = _SENTINEL_PORT if scheme.endswith("+sentinel") else _PORT
    return tuple(_address(host, default_port) for host in hosts.split(","))


def _address(text: str, default_port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        raise ValueError("a host is missing")
    return Address(parts.hostname, parts.port or default_port)


def _tls(settings: RedisSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=settings.ssl_ca_certs)
    if settings.ssl_certfile is not None:
        context.load_cert_chain(settings.ssl_certfile, settings.ssl_keyfile)
    return context

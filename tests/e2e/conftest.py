"""Whole systems for the tests of this folder."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager

import pytest

from tests.conftest import new_kafka, new_valkey
from tests.support.kafka import delete_topics
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service

ServiceFactory = Callable[..., Service]
Launch = Callable[..., AbstractContextManager[Service]]


@pytest.fixture(scope="session")
def _broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    server = new_kafka(tmp_path_factory.mktemp("kafka"), num_partitions="8")
    yield server
    server.stop()


@pytest.fixture(scope="module")
def broker(_broker: KafkaServer) -> Iterator[KafkaServer]:
    """A Kafka whose topics get 8 partitions, and are those of the test module: it begins with none."""
    _broker.start()
    yield _broker
    _broker.start()
    delete_topics(_broker.bootstrap)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey of the test module that loses nothing when it is stopped."""
    server = new_valkey(tmp_path_factory.mktemp("valkey"), appendfsync="always")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def launch(broker: KafkaServer, store: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Launch:
    """Runs `doorstep serve` for as long as a block, with settings by their names:
    `with launch(DOORSTEP_HOLDERS="3") as service`."""

    @contextmanager
    def launched(**env: str) -> Iterator[Service]:
        directory = tmp_path_factory.mktemp("doorstep")
        service = Service(directory, broker.bootstrap, store.url, Names().group(), env)
        try:
            service.start()
            yield service
        finally:
            service.stop()

    return launched


@pytest.fixture
def serve(launch: Launch) -> Iterator[ServiceFactory]:
    """The same for as long as a test: `serve(DOORSTEP_HOLDERS="3")`."""
    with ExitStack() as services:
        yield lambda **env: services.enter_context(launch(**env))


@pytest.fixture
def publisher(broker: KafkaServer) -> Iterator[Publisher]:
    """Publishes to the module's Kafka."""
    publisher = Publisher(broker.bootstrap)
    yield publisher
    publisher.close()

"""Whole systems for the tests of this folder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import new_kafka, new_valkey
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service

ServiceFactory = Callable[..., Service]


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka of the test module, whose topics get 8 partitions."""
    server = new_kafka(tmp_path_factory.mktemp("kafka"), num_partitions="8")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """A Valkey of the test module that loses nothing when it is stopped."""
    server = new_valkey(tmp_path_factory.mktemp("valkey"), appendfsync="always")
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="module")
def serve(
    broker: KafkaServer, store: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServiceFactory]:
    """Starts `doorstep serve`, with settings by their names: `serve(DOORSTEP_HOLDERS="3")`."""
    with ExitStack() as services:

        def start(kafka: KafkaServer = broker, **env: str) -> Service:
            directory = tmp_path_factory.mktemp("doorstep")
            service = Service(directory, kafka.bootstrap, store.url, Names().group(), env)
            services.callback(service.stop)
            service.start()
            return service

        yield start


@pytest.fixture
def publisher(broker: KafkaServer) -> Publisher:
    """Publishes to the module's Kafka."""
    return Publisher(broker.bootstrap)

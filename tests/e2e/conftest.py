"""Whole systems for the tests of this folder."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import new_kafka
from tests.support.names import Names
from tests.support.publisher import Publisher
from tests.support.servers import KafkaServer, ValkeyServer
from tests.support.service import Service

ServiceFactory = Callable[..., Service]


@pytest.fixture
def serve(tmp_path_factory: pytest.TempPathFactory, names: Names) -> Iterator[ServiceFactory]:
    """Starts `doorstep serve` on a Kafka and a Valkey; `serve(kafka, valkey, DOORSTEP_HOLDERS="3")`."""
    with ExitStack() as services:

        def start(kafka: KafkaServer, valkey: ValkeyServer, **env: str) -> Service:
            service = Service(
                tmp_path_factory.mktemp("doorstep"), kafka.bootstrap, valkey.url, names.group(), env
            )
            services.callback(service.stop)
            service.start()
            return service

        yield start


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KafkaServer]:
    """A Kafka of the test module, whose topics get 8 partitions."""
    server = new_kafka(tmp_path_factory.mktemp("kafka"), num_partitions="8")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def publisher(broker: KafkaServer) -> Publisher:
    """Publishes to the module's Kafka."""
    return Publisher(broker.bootstrap)

"""Fixtures of the actors' tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.actors.consuming.consumer_world import World
from tests.support.names import Names
from tests.support.servers import KafkaServer, ValkeyServer


@pytest.fixture
def world(kafka: KafkaServer, valkey: ValkeyServer, names: Names, tmp_path: Path) -> Iterator[World]:
    """Topics, routes and settings of one test on the shared servers."""
    world = World(kafka, valkey, names, tmp_path)
    yield world
    world.publisher.close()

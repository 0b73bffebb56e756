"""Brokers that come back under other addresses are found by those that stay: on a real Kafka and Valkey."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from doorstep.development.kafka import KafkaProcess
from tests.actors.consuming.consumer_world import World
from tests.support.kafka import kafka_process
from tests.support.names import Names
from tests.support.proxy import Proxy
from tests.support.servers import ValkeyServer


class MovingKafka:
    """A broker that clients can ask at one address for good; for all else it sends them to another."""

    def __init__(self, directory: Path) -> None:
        self.server: KafkaProcess = kafka_process(directory, {})
        self._properties = directory / "server.properties"
        self._proxy: Proxy | None = None

    def move(self) -> None:
        """Start, or start again, under another address; nobody listens at the former one."""
        self.stop()
        port = int(self.server.bootstrap.rpartition(":")[2])
        self._proxy = Proxy(port)
        self._proxy.start()
        with self._properties.open("a") as properties:  # the last line counts
            properties.write(f"advertised.listeners=PLAINTEXT://127.0.0.1:{self._proxy.port}\n")
        self.server.start()

    def stop(self) -> None:
        """Stop both."""
        if self._proxy is not None:
            self.server.stop()
            self._proxy.stop()


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[MovingKafka]:
    """Running under its first address."""
    directory = tmp_path / "moving"
    directory.mkdir()
    kafka = MovingKafka(directory)
    kafka.move()
    yield kafka
    kafka.stop()


@pytest.mark.kafka
async def test_new_addresses_of_all_brokers_are_learned_without_a_restart(
    moving: MovingKafka, valkey: ValkeyServer, names: Names, tmp_path: Path
) -> None:
    world, user = World(moving.server, valkey, names, tmp_path), names.user()
    async with world.consumer() as consumer:
        for times in (1, 2):
            notes = [world.notification(user, f"note-{times}-{number}") for number in range(10)]
            world.publisher.send_all(notes)
            world.produce(world.notifications, b"poison")
            await world.logged(user, 10 * times)
            assert len(await world.dead_letters(times)) == times
            if times == 1:
                await asyncio.to_thread(moving.move)
        status = await consumer.status()
        assert status.state == "running"
        assert all(each.state == "closed" for each in status.breakers)

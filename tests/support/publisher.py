"""A producer that remembers what it was told: only an acknowledged record is expected to arrive."""

from collections.abc import Iterable

from confluent_kafka import KafkaError, Message, Producer

from tests.support.records import Wire

_FLUSH_S = 60.0


class Publisher:
    """Publishes wire records and keeps, in order, those that Kafka has acknowledged."""

    def __init__(self, bootstrap: str) -> None:
        self.acknowledged: list[Wire] = []
        self.failed: list[tuple[Wire, str]] = []
        self.partitions: dict[bytes, int] = {}
        """By key, the partition of its last record."""
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "acks": "all",
                "enable.idempotence": True,
                "max.in.flight.requests.per.connection": 1,  # see `dead_letter_options`
                "linger.ms": 1,
                "message.max.bytes": 8_000_000,
                "message.timeout.ms": 120_000,
                # All others wait for the one under way, also where its broker does not answer any more.
                "socket.timeout.ms": 10_000,
                "log_level": 0,  # brokers that go away are what the tests are about
            }
        )

    def send(self, wire: Wire, value: bytes | None = None, *, partition: int = -1) -> None:
        """Publish without waiting; `value` instead of the record's own."""

        def told(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.acknowledged.append(wire)
                self.partitions[wire.key] = message.partition() or 0
            else:
                self.failed.append((wire, str(error)))

        body = wire.value if value is None else value
        self._producer.produce(wire.topic, body, key=wire.key, partition=partition, on_delivery=told)
        self._producer.poll(0)

    def send_all(self, wires: Iterable[Wire]) -> None:
        """Publish, and wait until Kafka has them all."""
        for wire in wires:
            self.send(wire)
        self.flush()

    def tombstone(self, topic: str, key: bytes) -> None:
        """Publish a record without a value."""
        self._producer.produce(topic, None, key=key)

    def close(self) -> None:
        """End it, with its threads and connections."""
        self._producer.purge()
        self._producer.close()

    def flush(self) -> None:
        """Wait until every record is acknowledged or given up; raises where that takes too long."""
        waiting = self._producer.flush(_FLUSH_S)
        assert waiting == 0, f"Kafka has not taken {waiting} records within {_FLUSH_S} s"

"""A connection of the store to the shared Valkey, and eyes on what is really in it."""

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import redis

from doorstep.actors.store.log import Log
from doorstep.actors.store.redis.calls import Connection
from doorstep.actors.store.redis.connection import connect
from doorstep.config.settings import HistorySettings
from tests.actors.store.helpers import redis_settings, stamp
from tests.support.servers import ValkeyServer


class Eyes:
    """Looks at the server, and meddles with it, past the store."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client: Any = redis.Redis.from_url(url)  # its methods have no types

    def __call__(self, *words: str | bytes | int | float) -> Any:
        """Run one command; bytes are not decoded."""
        return self._client.execute_command(*words)

    def listen(self) -> Callable[[int], list[bytes]]:
        """Subscribe to all feeds; the result returns the next so many messages."""
        feeds = self._client.pubsub(ignore_subscribe_messages=True)
        feeds.psubscribe("doorstep:*:feed:0")
        feeds.get_message(timeout=5)

        def messages(count: int) -> list[bytes]:
            found = [feeds.get_message(timeout=5) for _ in range(count)]
            return [message["data"] for message in found if message is not None]

        return messages

    def close(self) -> None:
        """End the connections."""
        self._client.close()


@pytest.fixture
def eyes(valkey: ValkeyServer) -> Iterator[Eyes]:
    """Commands to the shared Valkey."""
    eyes = Eyes(valkey.url)
    yield eyes
    eyes.close()


@pytest.fixture
async def connection(valkey: ValkeyServer) -> AsyncIterator[Connection]:
    """The store's connection to the shared Valkey, not open yet; the store has its stamp."""
    first, connection = connect(redis_settings(valkey.url)), connect(redis_settings(valkey.url))
    await stamp(first)
    await first.close()
    yield connection
    await connection.close()


@pytest.fixture
def log(connection: Connection) -> Log:
    """The logs on the shared Valkey, with the usual settings."""
    return Log(connection, HistorySettings())

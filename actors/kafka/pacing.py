"""When to fetch from Kafka next: a few milliseconds of patience make one fetch of many small ones.

The patience is before the fetch, not after it: what a fetch brings is taken at once, and what comes in the
meantime waits at the broker for the next one. After it, a record could just miss one fetch, wait for the
next, and then once more.
"""

import asyncio
from typing import Any

from aiokafka.protocol.fetch import FetchRequest

from doorstep.actors.kafka.fetch_sessions import Send


class FetchPace:
    """Stands in for the `send` of one aiokafka client, and keeps the fetches from each broker apart."""

    def __init__(self, send: Send, linger_s: float) -> None:
        """`linger_s`: the shortest time between the starts of two fetches; 0 switches it off.

        A lone record never waits: a fetch has been waiting for it at the broker. Nor does a backlog, which
        takes longer to work on than that.
        """
        self._send = send
        self._linger_s = linger_s
        self._sent_at: dict[int, float] = {}

    async def __call__(self, node_id: int, request: Any, **options: Any) -> Any:
        """Send a request; a fetch when it is time."""
        if self._linger_s and isinstance(request, FetchRequest):
            loop = asyncio.get_running_loop()
            delay_s = self._sent_at.get(node_id, float("-inf")) + self._linger_s - loop.time()
            if delay_s > 0:
                await asyncio.sleep(delay_s)
            self._sent_at[node_id] = loop.time()
        return await self._send(node_id, request, **options)

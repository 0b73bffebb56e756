"""What many would write first: Kafka to Redis pub/sub, and a subscription of its own for every socket.

It promises nothing: what is published while a user is away is gone. Run as
`python -m doorstep.benchmarks.naive_server PORT KAFKA REDIS TOPIC GROUP SECRET`.
"""

import sys
from typing import NamedTuple

import jwt
import redis.asyncio as redis
import uvloop
from aiokafka import AIOKafkaConsumer
from websockets.asyncio.server import ServerConnection, serve

USER_HEADER = "user"
WELCOME = b'{"welcome":true}'


class Arguments(NamedTuple):
    """The command line."""

    port: str
    kafka: str
    redis: str
    topic: str
    group: str
    secret: str


async def run(arguments: Arguments) -> None:
    """Serve until killed."""
    client = redis.Redis.from_url(arguments.redis, max_connections=1 << 20)

    async def on_socket(socket: ServerConnection) -> None:
        assert socket.request is not None
        token = socket.request.headers["Authorization"].removeprefix("Bearer ")
        user = jwt.decode(token, arguments.secret, ["HS256"])["sub"]
        async with client.pubsub(ignore_subscribe_messages=True) as subscription:
            await subscription.subscribe(user)
            await subscription.get_message(timeout=5)  # the answer to the subscription
            await socket.send(WELCOME, text=True)
            async for message in subscription.listen():
                await socket.send(message["data"], text=True)

    async with serve(on_socket, "127.0.0.1", int(arguments.port), compression=None):
        await _publish(arguments, client)


async def _publish(arguments: Arguments, client: redis.Redis) -> None:
    consumer = AIOKafkaConsumer(
        arguments.topic,
        bootstrap_servers=arguments.kafka,
        group_id=arguments.group,
        auto_offset_reset="earliest",
    )
    async with consumer:
        while True:
            batches = await consumer.getmany(timeout_ms=500)
            async with client.pipeline(transaction=False) as pipeline:
                for record in (record for records in batches.values() for record in records):
                    pipeline.publish(dict(record.headers)[USER_HEADER].decode(), record.value)
                await pipeline.execute()


if __name__ == "__main__":
    uvloop.run(run(Arguments(*sys.argv[1:])))

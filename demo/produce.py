"""The command `doorstep produce`: sample events for a user, as HuleEdu's services publish them."""

import asyncio
import uuid
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError

from doorstep.config.settings import Settings, load_settings
from doorstep.config.settings_errors import SettingsError
from doorstep.demo import batch_registry, essay_lifecycle
from doorstep.demo.batch_registry import Batch, registered
from doorstep.demo.essay_lifecycle import Content, slot_assigned
from doorstep.demo.stream import Publisher, producing
from doorstep.demo.wire import BATCH_REGISTERED, SLOT_ASSIGNED, Trace


def produce(
    user: Annotated[str, typer.Argument(help="The user id that the events concern.")],
    count: Annotated[int, typer.Option(min=1, help="Essays of the batch, each with one event.")] = 3,
    config: Annotated[Path | None, typer.Option(help="A TOML file with settings.")] = None,
) -> None:
    """Publish a batch of USER and the assignment of each of its essays; returns when Kafka has them."""
    try:
        settings = load_settings(config)
        if not settings.kafka.bootstrap_servers:
            raise SettingsError("DOORSTEP_KAFKA__BOOTSTRAP_SERVERS is not set: where is Kafka?")
        asyncio.run(_produce(settings, user, count))
    except (SettingsError, KafkaError, OSError) as error:
        typer.echo(f"doorstep produce: {error}", err=True)
        raise typer.Exit(2) from error


async def _produce(settings: Settings, user_id: str, count: int) -> None:
    essay_ids = [str(uuid.uuid4()) for _ in range(count)]
    batch = Batch(str(uuid.uuid4()), user_id, "ENG5", essay_ids)
    trace = Trace(str(uuid.uuid4()))
    async with producing(settings.kafka) as producer:
        registry = Publisher(producer, batch_registry.SERVICE)
        await registry.publish(BATCH_REGISTERED, batch.batch_id, registered(batch), trace)
        lifecycle = Publisher(producer, essay_lifecycle.SERVICE)
        for number, essay_id in enumerate(essay_ids, start=1):
            content = Content(
                batch.batch_id, str(uuid.uuid4()), f"essay {number}.txt", uuid.uuid4().hex, trace
            )
            await lifecycle.publish(SLOT_ASSIGNED, essay_id, slot_assigned(content, essay_id), trace)
    typer.echo(f"published batch {batch.batch_id} of {user_id}, with {count} essays")

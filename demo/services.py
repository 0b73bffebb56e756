"""The services around Doorstep, together in one process and on one port."""

import contextlib
import socket
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

from doorstep.config.settings import KafkaSettings
from doorstep.demo import batch_registry, essay_lifecycle, file_service
from doorstep.demo.batch_registry import BatchRegistry
from doorstep.demo.essay_lifecycle import EssayLifecycle
from doorstep.demo.file_service import ContentStore, FileService
from doorstep.demo.identity import Identity
from doorstep.demo.result_aggregator import ResultAggregator
from doorstep.demo.site import make_site, serving
from doorstep.demo.stream import Publisher, following, producing

_PATIENCE_S = 5.0  # of a caller who waits for an answer


@contextlib.asynccontextmanager
async def running_services(
    kafka: KafkaSettings, identity: Identity, listener: socket.socket, gateway_port: int
) -> AsyncIterator[None]:
    """While the body runs, they serve on `listener`. They tell a page that Doorstep is at `gateway_port`.

    What they know, and the files they store, is gone at the end. The topics must exist. Raises `KafkaError`
    at the start; what fails later cancels the body, and is raised in an `ExceptionGroup`.
    """
    with tempfile.TemporaryDirectory(prefix="doorstep-files-") as directory:
        async with producing(kafka) as producer:
            registry = BatchRegistry(Publisher(producer, batch_registry.SERVICE, _PATIENCE_S))
            store = ContentStore(Path(directory))
            files = FileService(store, registry, Publisher(producer, file_service.SERVICE, _PATIENCE_S))
            lifecycle = EssayLifecycle(Publisher(producer, essay_lifecycle.SERVICE))
            results = ResultAggregator()
            site = make_site(identity, [*registry.routes(), *files.routes(), *results.routes()], gateway_port)
            async with (
                following(kafka, lifecycle.topics, lifecycle.handle),
                following(kafka, results.topics, results.handle),
                serving(site, listener),
            ):
                yield

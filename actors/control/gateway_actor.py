"""The gateway actor: the public port of a node, and what it tells of the others."""

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import structlog
from prometheus_client import Metric

from doorstep.actors.control.actor_calls import ActorCalls, Unreachable
from doorstep.actors.control.actor_process import Report
from doorstep.actors.placement.topology import GATEWAY, Topology
from doorstep.actors.runtime.exposition import exposition, merge
from doorstep.actors.runtime.gc_tuning import collect_rarely
from doorstep.actors.runtime.main_task import MainTask
from doorstep.config.routes import load_routes
from doorstep.config.settings import Settings
from doorstep.gateway.asyncapi import asyncapi
from doorstep.gateway.auth import Authenticator
from doorstep.gateway.http import Readiness, make_pages
from doorstep.gateway.port import PublicPort
from doorstep.gateway.public_contract import public_contract

_ASK_S = 1.0
_RETRY_S = 1.0
_UNABLE = frozenset({"starting", "connecting", "joining", "settling", "stopping", "stopped"})

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class GatewayStatus:
    """What a gateway says of itself; `port` is 0 until it listens."""

    name: str
    state: str
    port: int


class Gateway:
    """Owns the public port. It asks the other actors only when a person or a probe asks it."""

    def __init__(self, settings: Settings, topology: Topology) -> None:
        """Begin at once; call within a running event loop."""
        collect_rarely()
        self._settings = settings
        self._topology = topology
        self._calls = ActorCalls()
        self._port_number = settings.gateway.port
        self._state = "starting"
        pages = make_pages(self._readiness, self._metrics, self._asyncapi)
        self._port = PublicPort(settings.gateway, Authenticator(settings.auth), self._holder_of, pages)
        self._main_task = MainTask(self._serve())

    async def status(self) -> GatewayStatus:
        """How it is."""
        return GatewayStatus(GATEWAY, self._state, self._port_number if self._state == "serving" else 0)

    async def metrics(self) -> Sequence[Metric]:
        """What its port counts."""
        return self._port.metrics.collect()

    async def stop(self) -> None:
        """Listen no more."""
        await self._main_task.stop()

    async def _serve(self) -> None:
        try:
            self._port_number = await self._listen()
            self._state = "serving"
            logger.info("listening", host=self._settings.gateway.host, port=self._port_number)
            await asyncio.Event().wait()
        finally:
            self._state = "stopping"
            await self._port.stop()

    async def _listen(self) -> int:
        """The port may still be held by a predecessor that is just dying."""
        while True:
            try:
                return await self._port.start()
            except OSError as error:
                logger.error("cannot listen; trying again", error=str(error), retry_in_s=_RETRY_S)
                await asyncio.sleep(_RETRY_S)

    def _holder_of(self, user_id: str) -> Path:
        return self._topology.socket_of(self._topology.holder_of(user_id))

    async def _readiness(self) -> Readiness:
        names = (*self._topology.holders, *self._topology.consumers)
        answers = await self._calls.ask_all(names, "report", timeout_s=_ASK_S)
        return readiness_of(each.status if isinstance(each, Report) else each for each in answers)

    async def _asyncapi(self) -> bytes:
        """Read when it is asked for: the routes are the consumers' business, and none of a socket's."""
        return await asyncio.to_thread(_contract_in_force, self._settings)

    async def _metrics(self) -> bytes:
        names = (*self._topology.holders, *self._topology.consumers)
        answers = await self._calls.ask_all(names, "metrics", timeout_s=_ASK_S)
        told: dict[str, Sequence[Metric]] = {
            name: answer
            for name, answer in zip(names, answers, strict=True)
            if not isinstance(answer, Unreachable)
        }
        return exposition(merge({GATEWAY: self._port.metrics.collect(), **told}))


def _contract_in_force(settings: Settings) -> bytes:
    return asyncapi(public_contract(load_routes(settings.routes), settings))


def readiness_of(statuses: Iterable[Any]) -> Readiness:
    """Ready when every actor serves and no breaker is open; else what is missing, and since when."""
    reasons: dict[str, object] = {}
    for status in statuses:
        if isinstance(status, Unreachable):
            reasons[status.name] = {"state": "unreachable", "reason": status.reason}
            continue
        if status.state in _UNABLE:
            reasons[status.name] = {"state": status.state}
        for breaker in status.breakers:
            if breaker.state == "open":
                since = datetime.fromtimestamp(breaker.since, UTC).isoformat(timespec="milliseconds")
                reasons[breaker.name] = {"state": "open", "since": since, "reason": breaker.reason}
    return Readiness(ready=not reasons, reasons=reasons)

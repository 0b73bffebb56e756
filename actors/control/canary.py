"""The canary: a user of our own; every few seconds a real record is sent, and waited for on a real socket.

Whatever is wrong between Kafka and a browser, it is the first to notice.
"""

import asyncio
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

import orjson
import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Metric

from doorstep.actors.consuming.faults import KafkaFault
from doorstep.actors.kafka.event_producer import EventProducer
from doorstep.config.settings import Settings
from doorstep.gateway.signer import Signer
from doorstep.gateway.visit import visit

_EVENT = "canary"
_TOKEN_S = 60.0
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

logger = structlog.get_logger(__name__)


class Canary:
    """One visit after the other, by the public port of this node."""

    def __init__(self, settings: Settings, node: str, port: Callable[[], int]) -> None:
        """`port` tells the number of the public port. Raises `AuthSetupError` without a shared secret."""
        self.user_id = user_of(settings.canary.user_id, node)
        self.faults: Mapping[str, KafkaFault] = {}
        """`canary`, and what became of it, while what was sent last has not come."""
        self._settings = settings.canary
        self._host = settings.gateway.host
        self._port = port
        self._signer = Signer(settings.auth)
        self._producer = EventProducer(settings.kafka, settings.canary.topic)
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "doorstep_canary_seconds",
            "From the sending of a canary's record to its notification on a socket.",
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._lost = Counter(
            "doorstep_canary_lost", "Canaries that did not come in time.", registry=self._registry
        )
        self._up = Gauge("doorstep_canary_up", "1 if the last canary came in time.", registry=self._registry)

    def metrics(self) -> Sequence[Metric]:
        """What Prometheus is told."""
        return list(self._registry.collect())

    async def run(self) -> None:
        """Send and wait until cancelled."""
        try:
            while True:
                begun = time.monotonic()
                await self._try()
                await asyncio.sleep(max(begun + self._settings.interval_s - time.monotonic(), 0))
        finally:
            self._producer.stop()

    async def _try(self) -> None:
        """A port that is closed on purpose is no outage."""
        if not self._port():
            self.faults = {}
            return
        event_id = str(uuid.uuid4())
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                took_s = await self._visit(event_id)
        except TimeoutError:
            self._miss(event_id, f"nothing came within {self._settings.timeout_s:g} s")
        except OSError as error:
            self._miss(event_id, str(error))
        else:
            self._seconds.observe(took_s)
            self._up.set(1)
            self.faults = {}

    async def _visit(self, event_id: str) -> float:
        """How long it took, in seconds, without the handshake."""
        async with visit(self._host, self._port(), self._signer.sign(self.user_id, _TOKEN_S)) as messages:
            await anext(messages)  # the welcome: what is sent from now on is pushed
            begun = time.monotonic()
            self._producer.offer(self.user_id, record_of(self._settings.topic, self.user_id, event_id))
            async for message in messages:
                if orjson.loads(message).get("id") == event_id:
                    break
            return time.monotonic() - begun

    def _miss(self, event_id: str, reason: str) -> None:
        self._lost.inc()
        self._up.set(0)
        if not self.faults:
            logger.warning("canary_lost", reason=reason, correlation_id=event_id)
        since = self.faults[_EVENT].since if self.faults else time.time()
        self.faults = {_EVENT: KafkaFault(reason, since)}


def user_of(user_id: str, node: str) -> str:
    """Who the canary of a node is: canaries that shared a log would each be sent the records of all."""
    return f"{user_id}.{node}" if node else user_id


def record_of(topic: str, user_id: str, event_id: str) -> bytes:
    """`TeacherNotificationRequestedV1` in its envelope."""
    now = datetime.now(UTC).isoformat()
    data = {
        "teacher_id": user_id,
        "notification_type": _EVENT,
        "category": "system_alert",
        "priority": "low",
        "payload": {},
        "correlation_id": event_id,
        "timestamp": now,
    }
    return orjson.dumps(
        {
            "event_id": event_id,
            "event_type": topic,
            "event_timestamp": now,
            "source_service": "doorstep",
            "schema_version": 1,
            "correlation_id": event_id,
            "data": data,
        }
    )

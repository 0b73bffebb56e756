"""The sweeper: sees to parked events that nobody else will. One consumer at a time does it for all."""

import asyncio
import secrets

import structlog

from doorstep.actors.consuming.delivery import Delivery
from doorstep.actors.store.contexts import Contexts
from doorstep.actors.store.redis.errors import StoreError

_EXPIRED_AT_ONCE = 200

logger = structlog.get_logger(__name__)


class Sweeper:
    """Releases what a consumer left that died between a registration and its release, and gives up what has
    waited too long."""

    def __init__(self, contexts: Contexts, delivery: Delivery, interval_s: float) -> None:
        self._contexts = contexts
        self._delivery = delivery
        self._interval_s = interval_s
        self._token = secrets.token_hex(8)
        self.oldest_parked_s = 0.0
        """How long the oldest parked event had waited when this was looked at last, whoever sweeps."""
        self.parked = 0
        """How many were parked then."""

    async def run(self) -> None:
        """Sweep every `interval_s` seconds, until cancelled."""
        while True:
            await asyncio.sleep(self._interval_s)
            try:
                await self._sweep()
            except StoreError as error:
                logger.warning("sweep_failed", reason=str(error))

    async def _sweep(self) -> None:
        self.oldest_parked_s = await self._contexts.oldest_parked_s()
        self.parked = await self._contexts.total()
        if not await self._contexts.claim_sweep(self._token, 3 * self._interval_s):
            return
        orphans = await self._contexts.orphans()
        for batch_id, user_id in (await self._contexts.lookup(orphans)).items():
            await self._delivery.release(batch_id, user_id)
        while expired := await self._contexts.expired(_EXPIRED_AT_ONCE):
            if not await self._delivery.give_up(expired):
                return

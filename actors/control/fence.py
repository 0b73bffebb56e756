"""The fence: an actor that Ray has given up, or that is cut off, ends by itself.

Ray starts a successor of an actor once it takes its node for dead. A node that was only cut off has the first
one still, and its raylet asks no more than once a minute whether it is to be there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

import ray
from ray import NodeID

from doorstep.actors.control.control_plane import LOST_S
from doorstep.actors.runtime.daemon_thread import in_daemon_thread

_ANSWER_S = 2.0
_PAUSE_S = 1.0


def why_end(is_counted: bool | None, cut_off_s: float) -> str:
    """Why an actor is to end; empty where it is not.

    `is_counted`: whether Ray counts its node among the living; None while Ray does not answer. `cut_off_s`:
    how long it has had neither Ray nor Redis. Without Ray alone it lives on: that may be away for everybody.
    """
    if is_counted is False:
        return "Ray takes this node for dead"
    if cut_off_s > LOST_S:
        return f"neither Ray's control plane nor Redis for {cut_off_s:.0f} s"
    return ""


class Fence:
    """Asks Ray's control plane every second."""

    def __init__(self, lacks_redis: Callable[[], Awaitable[bool]]) -> None:
        self.reason = ""
        """Why this process is to end."""
        context = ray.get_runtime_context()
        self._gcs: Any = context.worker.gcs_client
        self._nodes = [NodeID.from_hex(context.get_node_id())]
        self._lacks_redis = lacks_redis

    async def watch(self) -> NoReturn:
        """Look until cancelled."""
        connected_at = time.monotonic()
        while True:
            is_counted = await in_daemon_thread(self._is_counted)
            if is_counted is not None or not await self._lacks_redis():
                connected_at = time.monotonic()
            self.reason = self.reason or why_end(is_counted, time.monotonic() - connected_at)
            await asyncio.sleep(_PAUSE_S)

    def _is_counted(self) -> bool | None:
        """Blocks."""
        try:
            return all(self._gcs.check_alive(self._nodes, timeout=_ANSWER_S))
        except Exception:  # Ray says no more than that
            return None

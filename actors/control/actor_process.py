"""The process of an actor: what Ray calls, and what is the same for every kind of actor."""

import asyncio
import os
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

import structlog
from prometheus_client import Metric

from doorstep.actors.control.fence import Fence
from doorstep.actors.control.nodes import this_actor, this_node
from doorstep.actors.control.report import Report, Status, lacks_redis
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.runtime.ending import Reason, end_for, orphaned
from doorstep.actors.runtime.last_words import begin_life, say_last
from doorstep.actors.runtime.log_link import LineLink
from doorstep.actors.runtime.logging import Output, configure_logs
from doorstep.actors.runtime.main_task import MainTask, die
from doorstep.actors.runtime.process_metrics import ProcessMetrics
from doorstep.config.settings import Settings
from doorstep.config.settings_file import digest_of, read_settings
from doorstep.config.version import VERSION

_ORPHAN_S = 5.0
_LATE_S = 1.0

logger = structlog.get_logger(__name__)


class Actor(Protocol):
    """What is run in an actor's process."""

    async def status(self) -> Status:
        """How it is."""

    async def metrics(self) -> Sequence[Metric]:
        """What it counts."""

    async def stop(self, within_s: float) -> None:
        """Finish what is under way, and end, within that many seconds."""


class ActorProcess(ABC):
    """Reads the settings where they are, sets up the logs, and runs one actor. Ends with its raylet, or once
    it is fenced."""

    def __init__(self, name: str, run: RunDirectory) -> None:
        """Begin at once; called by Ray within a running event loop."""
        settings = _settings_of(run)
        self._log = LineLink(run.log_socket, sys.stderr.buffer)
        configure_logs(settings, name, self._log.text())
        sys.stdout, sys.stderr = Output("stdout"), Output("stderr")
        self._digest = digest_of(settings, VERSION)
        self._node = this_node(settings)
        self._started_at = time.time()
        former = begin_life(run.starts_of(this_actor()))
        self._restarts = len(former)
        if former:  # Ray tells of the end of a process by its number, and not by the actor's name
            last = former[-1]
            logger.warning("actor_restarted", restarts=self._restarts, former_pid=last.pid, reason=last.end)
        try:
            self._actor = self.make(name, settings, run)
        except Exception as error:
            logger.exception("actor_not_started")
            say_last(f"it did not start: {error!r}")
            raise
        self._process_metrics = ProcessMetrics(VERSION, lambda: self._log.dropped)
        end_for(self._reason_to_end(settings), lambda: self._actor.stop(_ORPHAN_S - _LATE_S), _ORPHAN_S)

    @abstractmethod
    def make(self, name: str, settings: Settings, run: RunDirectory) -> Actor:
        """The actor that runs here."""

    async def report(self) -> Report:
        """How it is."""
        return Report(
            status=await self._actor.status(),
            version=VERSION,
            digest=self._digest,
            node=self._node,
            pid=os.getpid(),
            started_at=self._started_at,
            cpu_s=time.process_time(),
            restarts=self._restarts,
        )

    async def metrics(self) -> Sequence[Metric]:
        """What Prometheus is told."""
        return [*await self._actor.metrics(), *self._process_metrics.collect()]

    async def stop(self, within_s: float) -> None:
        """Let the actor finish. Raises `TimeoutError` where it is late by more than a second."""
        async with asyncio.timeout(within_s + _LATE_S):
            await self._actor.stop(within_s)

    def _reason_to_end(self, settings: Settings) -> Reason:
        """A Ray of our own has one node, which is there or not."""
        alone = orphaned()
        if settings.ray.address is None:
            return alone
        fence = Fence(self._lacks_redis)
        self._fencing = MainTask(fence.watch())
        return lambda: alone() or fence.reason

    async def _lacks_redis(self) -> bool:
        return lacks_redis(await self._actor.status())


def _settings_of(run: RunDirectory) -> Settings:
    """The settings in force. Where there are none (yet), this process ends: Ray starts it again, and for an
    actor that was moved to another node perhaps on a third."""
    try:
        return read_settings(run.settings_file)
    except OSError as error:
        sys.stderr.write(f"no settings: {error}\n")
        die()
        raise

"""Brings the actors up on a Ray cluster, one of its own or a given one, and takes them down again."""

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Coroutine, Mapping
from pathlib import Path

import ray

from doorstep.actors.control.actor_calls import ask
from doorstep.actors.control.gateway_actor import GatewayStatus
from doorstep.actors.control.supervisor import create
from doorstep.actors.placement.topology import GATEWAY, SUPERVISOR, Topology
from doorstep.actors.runtime.signals import take_signals_back
from doorstep.config.settings import Settings

_START_S = 120.0
_STOP_S = 4.0
_LOOK_S = 0.05
_OBJECT_STORE_BYTES = 80 * 1024 * 1024

# A Ray of our own has one node and a handful of actors, and moves no objects; by default it looks ten times a
# second after what it does not have (docs/decisions/0007). None of this is how it learns of an actor's death.
_QUIET_CONFIG: Mapping[str, bool | int] = {
    # For Ray's dashboard, its Prometheus port and `ray list tasks`; Doorstep has metrics of its own.
    "enable_metrics_collection": False,
    "event_stats": False,
    "task_events_report_interval_ms": 0,
    "debug_dump_period_milliseconds": 0,
    # The raylet: once a second is often enough for its resources, disk, memory and objects.
    "raylet_report_resources_period_milliseconds": 1000,
    "raylet_check_gc_period_milliseconds": 1000,
    "object_manager_timer_freq_ms": 1000,
    "local_fs_monitor_interval_ms": 1000,
    "memory_monitor_refresh_ms": 1000,
    "kill_idle_workers_interval_ms": 1000,
    # Three threads, not six to 24, wait for objects of other nodes; and no autoscaler wants to know the load.
    "object_manager_rpc_threads_num": 1,
    "gcs_pull_resource_loads_period_milliseconds": 60_000,
}
QUIET_ENVIRONMENT: Mapping[str, str] = {
    # Lines of a log are passed on ten times a second as ever, but new files are looked for once a second.
    "RAY_LOG_MONITOR_MANY_FILES_THRESHOLD": "0",
    "LOG_NAME_UPDATE_INTERVAL_S": "1",
    # Once a minute: what Ray's agent, dashboard and autoscaler gather for nobody.
    "REPORTER_UPDATE_INTERVAL_MS": "60000",
    "SCAN_EVENT_DIR_INTERVAL_SECONDS": "60",
    "METRICS_RECORD_INTERVAL_S": "60",
    "AUTOSCALER_UPDATE_INTERVAL_S": "60",
}


class StartError(Exception):
    """The actors did not come up; the message says which, and why."""


class Cluster:
    """The running service: `async with Cluster(settings) as cluster: cluster.url`."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._own_run_dir = settings.run_dir is None
        run_dir = settings.run_dir or Path(tempfile.mkdtemp(prefix="doorstep-"))
        self._topology = Topology.of(holders=settings.holders, consumers=settings.consumers, run_dir=run_dir)
        self.url = ""
        """The address of the public port, `http://host:port`, once started."""

    async def __aenter__(self) -> "Cluster":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Bring everything up; returns when the port takes connections. Call it in the main thread.

        Raises `StartError` after two minutes without that. Whatever ends it early takes down what is up.
        """
        try:
            await _to_its_end(asyncio.to_thread(self._start_ray))
            take_signals_back()
            for name in (SUPERVISOR, *self._topology.actors):
                create(name, self._settings, self._topology)
            async with asyncio.timeout(_START_S):
                self.url = await self._wait_for_port()
        except TimeoutError:
            await self.stop()
            raise StartError(
                f"no gateway within {_START_S:.0f} s; look at the log lines above, of the actor 'gateway'"
            ) from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Finish what is under way, then end every actor, and the local Ray."""
        if ray.is_initialized():
            await ask(SUPERVISOR, "stop", _STOP_S)
            for name in (SUPERVISOR, *self._topology.actors):
                with contextlib.suppress(ValueError):
                    ray.kill(ray.get_actor(name))
            await asyncio.to_thread(ray.shutdown)
        if self._own_run_dir:
            shutil.rmtree(self._topology.run_dir, ignore_errors=True)

    def _start_ray(self) -> None:
        try:
            self._init_ray()
        except Exception as error:  # Ray says no more than that
            where = self._settings.ray.address or "on this machine"
            raise StartError(f"Ray did not start, or could not be joined ({where}): {error}") from error

    def _init_ray(self) -> None:
        address = self._settings.ray.address
        if address is None:
            for name, value in QUIET_ENVIRONMENT.items():
                os.environ.setdefault(name, value)
            ray.init(
                namespace=self._settings.ray.namespace,
                include_dashboard=False,
                num_cpus=0,
                object_store_memory=_OBJECT_STORE_BYTES,
                configure_logging=False,
                logging_level=logging.WARNING,
                _system_config=quiet_config(),
            )
        else:
            ray.init(address, namespace=self._settings.ray.namespace)

    async def _wait_for_port(self) -> str:
        while True:
            status = await ask(GATEWAY, "status", 1.0)
            if isinstance(status, GatewayStatus) and status.port:
                return f"http://{self._settings.gateway.host}:{status.port}"
            await asyncio.sleep(_LOOK_S)


def quiet_config() -> dict[str, bool | int]:
    """What `ray.init` is to set, except what a `RAY_…` environment variable says: somebody wants it so."""
    return {name: value for name, value in _QUIET_CONFIG.items() if f"RAY_{name}" not in os.environ}


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Await what can't be interrupted; a cancellation is raised after its end."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise

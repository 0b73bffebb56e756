"""Brings the actors up on a Ray cluster, one of its own or a given one, and takes them down again."""

import asyncio
import contextlib
import logging
import os
import shutil
import tempfile
from collections.abc import Coroutine
from pathlib import Path

import ray

from doorstep.actors.control.actor_calls import ask
from doorstep.actors.control.gateway_actor import GatewayStatus
from doorstep.actors.control.quiet_ray import QUIET_ENVIRONMENT, quiet_config
from doorstep.actors.control.supervisor import create
from doorstep.actors.placement.topology import GATEWAY, SUPERVISOR, Topology
from doorstep.actors.runtime.signals import take_signals_back
from doorstep.config.settings import Settings

_START_S = 120.0
_STOP_S = 4.0
_LOOK_S = 0.05
_OBJECT_STORE_BYTES = 80 * 1024 * 1024


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


async def _to_its_end(work: Coroutine[None, None, None]) -> None:
    """Await what can't be interrupted; a cancellation is raised after its end."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await task
        raise

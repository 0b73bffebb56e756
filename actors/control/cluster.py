"""Brings the actors up on a Ray of its own or a given one, follows them, and takes them down again."""

import asyncio
import contextlib
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import ray
import structlog
import xxhash
from ray.util import list_named_actors

from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.actor_processes import create
from doorstep.actors.control.fleet import Fleet
from doorstep.actors.control.gateway_actor import GatewayStatus
from doorstep.actors.control.given_ray import GivenRay
from doorstep.actors.control.node_files import clear, prepare
from doorstep.actors.control.nodes import live_nodes, run_on_all, this_node
from doorstep.actors.control.own_ray import OwnRay
from doorstep.actors.control.report import Report
from doorstep.actors.placement.cell import SUPERVISOR, Cell
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.runtime.log_link import LinePrinter
from doorstep.actors.runtime.signals import take_signals_back
from doorstep.config.settings import Settings
from doorstep.config.settings_file import digest_of
from doorstep.config.version import VERSION
from doorstep.gateway.handover import HandoverError

_START_S = 120.0
_LATE_S = 3.0
_ASK_S = 5.0
_LAST_LINES_S = 1.0
_LOOK_S = 0.05
_ROOT = "/tmp"  # noqa: S108 - as Ray has it: the path of a Unix socket must be short

logger = structlog.get_logger(__name__)


class StartError(Exception):
    """The actors did not come up; the message says which, and why."""


class OtherActorsError(StartError):
    """The actors of another version, or with other settings, are there already."""


class Cluster:
    """The running service: `async with Cluster(settings) as cluster: cluster.url`."""

    def __init__(self, settings: Settings, *, replace: bool = False) -> None:
        """`replace`: actors that are there already, and differ, are stopped first."""
        self._settings = settings
        self._replace = replace
        self._ray, directory = _ray_and_directory(settings)
        self._run = RunDirectory(settings.run_dir or directory)
        self._fleet = Fleet(settings, self._run, create)
        self._printer: LinePrinter | None = None
        self._calls = ActorCalls()
        self._has_started = False
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
            await self._start_ray()
            take_signals_back()
            adopted = await self._look_for_others()
            await self._prepare_run_dir()
            self._has_started = not adopted
            await self._create_supervisor()
            await self._fleet.reconcile()
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

    async def watch(self) -> NoReturn:
        """Follow Ray until it is lost: raises `RayLostError` then."""
        await self._ray.watch()

    async def take_down(self) -> None:
        """End the actors that are there, whoever has started them. Raises `StartError` without a Ray."""
        try:
            await self._start_ray()
            take_signals_back()
            self._has_started = True
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Finish what is under way, and end what we have started: every actor, unless they were adopted, and
        the local Ray with all that is left of it."""
        if ray.is_initialized():
            if self._has_started and not self._ray.is_lost:
                await self._stop_actors()
                await self._clear_run_dirs()
            await asyncio.to_thread(ray.shutdown)
        await self._ray.stop()
        if self._printer is not None:
            await self._printer.stop(_LAST_LINES_S)

    async def _start_ray(self) -> None:
        try:
            address = await self._ray.start()
            await _in_a_thread(lambda: _join(address, self._settings.ray.namespace))
        except Exception as error:  # Ray says no more than that
            where = self._settings.ray.address or "on this machine"
            raise StartError(f"Ray did not start, or could not be joined ({where}): {error}") from error

    async def _look_for_others(self) -> bool:
        """Whether actors are adopted: those that are there already and are the same, after a `serve` that was
        killed. Others are replaced where that is wished, and make us give up where it is not."""
        if not await asyncio.to_thread(list_named_actors):
            return False
        report = await self._calls.ask(SUPERVISOR, "report", timeout_s=_ASK_S)
        theirs = report.digest if isinstance(report, Report) else "unknown"
        ours = digest_of(self._settings, VERSION)
        if theirs == ours:
            logger.warning("actors_adopted", digest=ours)
            return True
        if self._replace:
            logger.warning("actors_replaced", digest=theirs, by=ours)
            await self._stop_actors()
            return False
        raise OtherActorsError(
            f"Ray's namespace {self._settings.ray.namespace!r} has actors of another version or with "
            f"other settings: {theirs}, ours are {ours}. Stop them (doorstep down), replace them "
            "(--replace), or use another namespace (DOORSTEP_RAY__NAMESPACE)."
        )

    async def _stop_actors(self) -> None:
        """In order, which is the supervisor's business; then whoever is left."""
        drain_s = self._settings.drain_s
        await self._calls.ask(SUPERVISOR, "stop_fleet", drain_s, timeout_s=drain_s + _LATE_S)
        for name in await asyncio.to_thread(list_named_actors):
            with contextlib.suppress(ValueError):
                ray.kill(await asyncio.to_thread(ray.get_actor, name))
        self._calls = ActorCalls()
        async with asyncio.timeout(_ASK_S):
            while True:
                if not await asyncio.to_thread(list_named_actors):
                    return
                await asyncio.sleep(_LOOK_S)

    async def _prepare_run_dir(self) -> None:
        printer = LinePrinter(self._run.log_socket, sys.stderr)
        try:
            prepare(self._run, self._settings)
            await printer.start()
        except HandoverError as error:
            raise StartError(f"run_dir: {error}") from error
        except OSError as error:
            raise StartError(f"run_dir: can't write to {self._run.path}: {error.strerror}") from error
        self._printer = printer

    async def _create_supervisor(self) -> None:
        nodes = await asyncio.to_thread(live_nodes, self._settings)
        create(SUPERVISOR, self._run, nodes[this_node(self._settings)])

    async def _clear_run_dirs(self) -> None:
        """Secrets are in what the actors leave."""
        if self._settings.ray.address is None:
            clear(self._run)
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_ASK_S):
                await run_on_all(self._settings, clear, self._run)

    async def _wait_for_port(self) -> str:
        gateway = Cell.of(this_node(self._settings), self._settings.holders).gateway
        while True:
            report = await self._calls.ask(gateway, "report", timeout_s=1.0)
            status = report.status if isinstance(report, Report) else None
            if isinstance(status, GatewayStatus) and status.port:
                return f"http://{self._settings.gateway.host}:{status.port}"
            await asyncio.sleep(_LOOK_S)


def _ray_and_directory(settings: Settings) -> tuple[GivenRay | OwnRay, Path]:
    """The Ray of the settings, and where its nodes have the files of their actors: for a given one it follows
    from the settings, so that whoever looks for it finds it, on every node."""
    root = os.environ.get("RAY_TMPDIR", _ROOT)
    address = settings.ray.address
    if address is None:
        directory = Path(tempfile.mkdtemp(prefix="doorstep-", dir=root))
        return OwnRay(directory), directory
    which = xxhash.xxh3_64_hexdigest(f"{address} {settings.ray.namespace}".encode())
    return GivenRay(address), Path(root) / f"doorstep-{os.geteuid()}-{which[:8]}"


def _join(address: str, namespace: str) -> None:
    ray.init(
        address,
        namespace=namespace,
        log_to_driver=False,  # the actors send their lines themselves
        configure_logging=False,
        logging_level=logging.WARNING,
    )


async def _in_a_thread(work: Callable[[], None]) -> None:
    """Run what may take for ever, such as joining a Ray that is not there: neither a cancellation nor the end
    of this process waits for it."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[None] = loop.create_future()

    def tell(error: BaseException | None) -> None:
        if not done.done():
            done.set_exception(error) if error else done.set_result(None)

    def run() -> None:
        failed: BaseException | None = None
        try:
            work()
        except Exception as error:
            failed = error
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
            loop.call_soon_threadsafe(tell, failed)

    threading.Thread(target=run, daemon=True).start()
    await done

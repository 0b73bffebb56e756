"""Brings the actors up on a Ray of its own or a given one, follows them, and takes them down again."""

import asyncio
import contextlib
import logging
import os
import socket
import sys
import tempfile
from collections.abc import Collection, Coroutine
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

import ray
import structlog
import xxhash
from ray.exceptions import RayError
from ray.util import list_named_actors

from doorstep.actors.control.actor_calls import ActorCalls
from doorstep.actors.control.actor_processes import create
from doorstep.actors.control.fleet import Fleet
from doorstep.actors.control.gateway_actor import GatewayStatus
from doorstep.actors.control.given_ray import GivenRay
from doorstep.actors.control.node_files import clear, prepare
from doorstep.actors.control.nodes import cell_nodes, live_nodes, run_on_all, this_node
from doorstep.actors.control.own_ray import OwnRay
from doorstep.actors.control.ray_errors import RayAwayError
from doorstep.actors.control.report import Report
from doorstep.actors.placement.cell import SUPERVISOR, Cell, edition_of
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.spec import OtherFleetError, Spec, SpecError
from doorstep.actors.runtime.daemon_thread import in_daemon_thread
from doorstep.actors.runtime.log_link import LinePrinter
from doorstep.actors.runtime.signals import take_signals_back
from doorstep.actors.store.redis.errors import StoreError, StoreUnavailable
from doorstep.actors.store.spec_record import open_record, wanted_by
from doorstep.config.settings import Settings
from doorstep.config.settings_file import digest_of
from doorstep.config.version import VERSION
from doorstep.gateway.unix_listener import NotPrivateError

_START_S = 120.0
_LATE_S = 3.0
_ASK_S = 5.0
_LAST_LINES_S = 1.0
_GOES_S = 2.0
_LOOK_S = 0.05
_ROOT = "/tmp"  # noqa: S108 - as Ray has it: the path of a Unix socket must be short

logger = structlog.get_logger(__name__)


class StartError(Exception):
    """The actors did not come up; the message says which, and why."""


class OtherActorsError(StartError):
    """The actors of another version, or with other settings, are there already."""


class Service:
    """The running service: `async with Service(settings) as service: service.url`."""

    def __init__(self, settings: Settings, *, replace: bool = False, ray_within_s: float = _START_S) -> None:
        """`replace`: actors that are there already, and differ, give way to ours. `ray_within_s`: how long
        somebody may take to listen where a given Ray is to be."""
        self._settings = settings
        self._replace = replace
        self._ray, directory = _ray_and_directory(settings, ray_within_s)
        self._wanted = wanted_by(settings, settings.ray.address or f"{socket.gethostname()}:{directory}")
        self._run = RunDirectory(settings.run_dir or directory)
        self._printer: LinePrinter | None = None
        self._calls = ActorCalls()
        self._has_started = False
        self.url = ""
        """The address of the public port, `http://host:port`, once started."""

    async def __aenter__(self) -> "Service":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> Spec:
        """Bring everything up; returns, with what is wanted, when the port takes connections. Call it in the
        main thread.

        Raises `StartError` after two minutes without that. Whatever ends it early takes down what is up.
        """
        try:
            await self._start_ray()
            take_signals_back()
            others = await asyncio.to_thread(list_named_actors)
            adopted = bool(others) and await self._are_ours()
            self._belong_to(_edition_after(others, is_new=not adopted))
            if others and not adopted:
                await self._remove([SUPERVISOR])  # the next one finds whatever it was about to do
            spec = await self._agree_on_a_spec()
            await self._prepare_run_dir(spec)
            self._has_started = not others  # who replaces others, and fails, leaves them
            await self._create_supervisor()
            if self._has_started:
                await Fleet(self._settings, self._run, create).reconcile(spec)
            async with asyncio.timeout(_START_S):
                self.url = await self._wait_for_port()
            self._has_started = not adopted
            return spec
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

    async def wait_until_carried_out(self, spec: Spec, within_s: float) -> None:
        """Returns once the supervisor has done all that is wanted. Raises `StartError` if that is late."""
        try:
            async with asyncio.timeout(within_s), open_record(self._settings) as record:
                await record.carried_out(spec.generation)
        except TimeoutError:
            raise StartError(
                f"generation {spec.generation} is not carried out within {within_s:g} s"
            ) from None
        except StoreError as error:
            raise StartError(f"the spec in Redis: {error}") from error

    async def leave(self) -> None:
        """Go, and leave the actors as they are, whoever has started them."""
        self._has_started = False
        await self.stop()

    async def take_down(self) -> None:
        """End the actors that are there, whoever has started them. Raises `StartError` without a Ray."""
        try:
            await self._start_ray()
            take_signals_back()
            self._belong_to(_edition_after(await asyncio.to_thread(list_named_actors), is_new=False))
            self._has_started = True
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Finish what is under way, and end what we have started: every actor, unless they were adopted, and
        the local Ray with all that is left of it."""
        try:
            if ray.is_initialized() and self._has_started and not self._ray.is_lost:
                await self._unless_ray_goes(self._end_fleet_unless_replaced())
        finally:
            if ray.is_initialized():
                await asyncio.to_thread(ray.shutdown)
            await self._ray.stop()
            if self._printer is not None:
                await self._printer.stop(_LAST_LINES_S)
                self._clear_ours()

    async def _unless_ray_goes(self, work: Coroutine[Any, Any, None]) -> None:
        """Do it, but no longer than Ray is there: nobody would answer. A SIGTERM to a whole process group, or
        to all that systemd has started, ends Ray's servers while we ask them."""
        working, going = asyncio.create_task(work), asyncio.create_task(self._ray.until_it_goes())
        try:
            await asyncio.wait({working, going}, return_when=asyncio.FIRST_COMPLETED)
            if working.done() and isinstance(working.exception(), RayError):
                await asyncio.wait({going}, timeout=_GOES_S)  # it may be why
            if not going.done():
                working.result()
        finally:
            going.cancel()
            working.cancel()

    async def _end_fleet_unless_replaced(self) -> None:
        names = await in_daemon_thread(list_named_actors)
        if _edition_after(names, is_new=False) > self._run.edition:
            logger.warning("actors_left", reason="somebody has replaced those that were started here")
            return
        await self._stop_actors()
        await self._forget_the_spec()
        await self._clear_run_dirs()

    async def _start_ray(self) -> None:
        try:
            address = await self._ray.start()
            await in_daemon_thread(lambda: _join(address, self._settings.ray.namespace))
        except RayAwayError as error:
            raise StartError(str(error)) from error
        except Exception as error:  # Ray says no more than that
            where = self._settings.ray.address or "on this machine"
            raise StartError(f"Ray did not start, or could not be joined ({where}): {error}") from error

    def _belong_to(self, edition: int) -> None:
        """The actors of this edition are those that we start, or go on with."""
        self._run = replace(self._run, edition=edition)
        self._wanted = replace(self._wanted, edition=edition)

    async def _are_ours(self) -> bool:
        """Whether the actors that are there are the same as ours, after a `serve` that was killed: they are
        adopted. Others are replaced where that is wished, and make us give up where it is not."""
        report = await self._calls.ask(SUPERVISOR, "report", timeout_s=_ASK_S)
        theirs = report.digest if isinstance(report, Report) else "unknown"
        ours = digest_of(self._settings, VERSION)
        if theirs == ours:
            logger.warning("actors_adopted", digest=ours)
            return True
        if self._replace:
            logger.warning("actors_replaced", digest=theirs, by=ours)
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
        await self._remove(await in_daemon_thread(list_named_actors))

    async def _remove(self, names: Collection[str]) -> None:
        """Raises `TimeoutError` where one does not go."""
        for name in names:
            with contextlib.suppress(ValueError):
                ray.kill(await in_daemon_thread(partial(ray.get_actor, name)))
        self._calls = ActorCalls()
        async with asyncio.timeout(_ASK_S):
            while not {*names}.isdisjoint(await in_daemon_thread(list_named_actors)):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK_S)

    async def _agree_on_a_spec(self) -> Spec:
        """What is wanted of the fleet; while Redis is away, what our settings say.
        The supervisor writes it when Redis is back."""
        try:
            async with open_record(self._settings) as record:
                return await record.agree(self._wanted, with_numbers=self._replace)
        except OtherFleetError as error:
            raise OtherActorsError(str(error)) from error
        except StoreUnavailable as error:
            logger.warning("spec_not_written", reason=str(error))
            return self._wanted
        except (StoreError, SpecError) as error:
            raise StartError(f"the spec in Redis: {error}") from error

    async def _forget_the_spec(self) -> None:
        with contextlib.suppress(StoreError):
            async with open_record(self._settings) as record:
                await record.forget()

    async def _prepare_run_dir(self, spec: Spec) -> None:
        printer = LinePrinter(self._run.log_socket, sys.stderr)
        try:
            prepare(self._run, self._settings, spec)
            await printer.start()
        except NotPrivateError as error:
            raise StartError(f"run_dir: {error}") from error
        except OSError as error:
            raise StartError(f"run_dir: can't write to {self._run.path}: {error.strerror}") from error
        self._printer = printer

    async def _create_supervisor(self) -> None:
        nodes = await asyncio.to_thread(live_nodes, self._settings)
        create(SUPERVISOR, self._run, nodes[this_node(self._settings)])

    async def _clear_run_dirs(self) -> None:
        """Secrets are in what the actors leave."""
        if self._settings.ray.address is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_ASK_S):
                    await run_on_all(self._settings, clear, self._run)

    def _clear_ours(self) -> None:
        """The same, however it ends, where nobody else has actors there."""
        if self._settings.ray.address is None:
            clear(self._run)

    async def _wait_for_port(self) -> str:
        """The address of this node's gateway; where it has no cell, of any."""
        here = this_node(self._settings)
        while True:
            nodes = await asyncio.to_thread(cell_nodes, self._settings)
            where = [here] if here in nodes else nodes
            gateways = [Cell.of(node, 1, self._run.edition).gateway for node in where]
            for report in await self._calls.ask_all(gateways, "report", timeout_s=1.0):
                status = report.status if isinstance(report, Report) else None
                if isinstance(status, GatewayStatus) and status.port:
                    return f"http://{self._settings.gateway.host}:{status.port}"
            await asyncio.sleep(_LOOK_S)


def _edition_after(names: Collection[str], *, is_new: bool) -> int:
    """The latest edition of these actors, or, if another one `is_new` beside them, the next."""
    latest = max(map(edition_of, names), default=0)
    return max(latest + is_new, 1)


def _ray_and_directory(settings: Settings, within_s: float) -> tuple[GivenRay | OwnRay, Path]:
    """The Ray of the settings, and where its nodes have the files of their actors: for a given one it follows
    from the settings, so that whoever looks for it finds it, on every node."""
    root = os.environ.get("RAY_TMPDIR", _ROOT)
    address = settings.ray.address
    if address is None:
        directory = Path(tempfile.mkdtemp(prefix="doorstep-", dir=root))
        return OwnRay(directory), directory
    which = xxhash.xxh3_64_hexdigest(f"{address} {settings.ray.namespace}".encode())
    return GivenRay(address, within_s), Path(root) / f"doorstep-{os.geteuid()}-{which[:8]}"


def _join(address: str, namespace: str) -> None:
    ray.init(
        address,
        namespace=namespace,
        log_to_driver=False,  # the actors send their lines themselves
        configure_logging=False,
        logging_level=logging.WARNING,
    )

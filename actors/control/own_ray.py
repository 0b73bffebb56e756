"""A Ray of our own: one node on the loopback of this machine, which nobody else gets into."""

import asyncio
import contextlib
import os
import secrets
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from ray import _raylet
from ray._private import node, parameter, ray_constants, services

from doorstep.actors.control.listening import connect_error
from doorstep.actors.control.quiet_ray import quiet_config
from doorstep.actors.control.ray_errors import RayLostError
from doorstep.actors.placement.hosts import CELL
from doorstep.actors.runtime import idle_agent
from doorstep.actors.runtime.undertaker import Undertaker
from doorstep.config.setting_names import secret_variables
from doorstep.config.settings import Settings

_OBJECT_STORE_BYTES = 80 * 1024 * 1024
_LOOPBACK = "127.0.0.1"
_LOOK_S = 0.5
_ORPHANS_S = 8.0
LOOPBACK_ONLY = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"
"""Ray stays on the loopback where this is 0, its default on macOS."""
AGENTS: Mapping[str, Sequence[str]] = {
    "dashboard_agent": ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port"),
    "runtime_env_agent": ("runtime_env_agent_port",),
}
"""The agents of a raylet, and the ports that it wants to be told of by each."""
_Params: Any = parameter.RayParams
_Config: Any = getattr(_raylet, "Config")  # noqa: B009 - its stub does not have it


class _TwoServers(node.Node):
    """Ray's node without the dashboard and its two agents, which it starts and waits for even where nobody
    wants them."""

    def start_api_server(self, *, include_dashboard: bool | None, raise_on_failure: bool) -> None:
        """That is the dashboard."""

    def start_raylet(self, *arguments: Any, **options: Any) -> None:
        """With agents that do nothing: docs/decisions/0103."""
        start = services.start_ray_process
        itself: Any = self  # Ray has no types for it
        session, node_id = itself.get_session_dir_path(), self.node_id

        def start_with_idle_agents(command: list[str], *arguments: Any, **options: Any) -> Any:
            return start(_with_idle_agents(command, session, node_id), *arguments, **options)

        services.start_ray_process = start_with_idle_agents
        try:
            super().start_raylet(*arguments, **options)
        finally:
            services.start_ray_process = start


def _with_idle_agents(command: Sequence[str], session: str, node_id: str) -> list[str]:
    """A raylet's command, with idle ones for its agents."""
    idle = [sys.executable, "-I", "-S", idle_agent.__file__, session, node_id]
    changed = [*command]
    for agent, ports in AGENTS.items():
        option = f"--{agent}_command="
        started = option + subprocess.list2cmdline([*idle, *ports])
        changed = [started if each.startswith(option) else each for each in changed]
    return changed


_Node: Any = _TwoServers


class OwnRay:
    """Two servers, GCS and raylet, whose token, sockets and logs are below `directory`, a private one.

    `ray.init` would start the same, but listen to the whole network, with a log monitor, an autoscaler and a
    dashboard that nobody looks at. So this uses what `ray.init` uses: docs/decisions/0035.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory / "ray"  # which Ray opens to everybody, inside of one that is not
        self._undertaker = Undertaker(directory, _ORPHANS_S)
        self._node: Any = None

    async def start(self) -> str:
        """Start it; returns its address. Raises what Ray raises. A cancellation is raised after its start."""
        starting = asyncio.create_task(asyncio.to_thread(self._start))
        try:
            return await asyncio.shield(starting)
        except asyncio.CancelledError:
            await starting
            raise

    @property
    def is_lost(self) -> bool:
        """Whether one of its servers has ended."""
        return bool(self._dead())

    async def watch(self) -> NoReturn:
        """Raises `RayLostError` once that is so."""
        while True:
            if dead := self._dead():
                raise RayLostError(f"Ray's {' and '.join(dead)} has ended: nobody would restart an actor")
            await asyncio.sleep(_LOOK_S)

    async def until_it_goes(self) -> None:
        """Returns once one of its servers has ended, or is about to: each may wait ten seconds for the other,
        but before that the GCS takes no connection any more."""
        host, _, port = self._node.gcs_address.rpartition(":")
        while not self._dead():
            if isinstance(await connect_error(host, int(port), _LOOK_S), ConnectionRefusedError):
                return  # who is slow is there
            await asyncio.sleep(_LOOK_S)

    async def stop(self) -> None:
        """End its servers, the actors that are left, and remove the directory."""
        if self._node is not None:
            await asyncio.to_thread(self._node.kill_all_processes, check_alive=False, allow_graceful=True)
        await asyncio.to_thread(self._undertaker.finish)

    def _start(self) -> str:
        self._keep_to_the_loopback()
        self._want_a_token()
        with _secrets_hidden():
            self._node = _Node(
                _Params(
                    node_ip_address=_LOOPBACK,
                    num_cpus=0,
                    resources={CELL: 1},
                    object_store_memory=_OBJECT_STORE_BYTES,
                    include_dashboard=False,
                    include_log_monitor=False,
                    no_monitor=True,
                    temp_dir=str(self._directory),
                    _system_config=quiet_config(),
                ),
                head=True,
                shutdown_at_exit=False,
                spawn_reaper=False,
                ray_init_cluster=True,
            )
        address: str = self._node.gcs_address
        return address

    def _dead(self) -> list[str]:
        """The names of its servers that have ended."""
        return [] if self._node is None else [name for name, _ in self._node.dead_processes()]

    def _keep_to_the_loopback(self) -> None:
        os.environ[LOOPBACK_ONLY] = "0"  # for the processes that it starts
        ray_constants.ENABLE_RAY_CLUSTER = False  # for this one, which has read it

    def _want_a_token(self) -> None:
        """Whoever can't read this file gets no answer from Ray."""
        file = self._directory / "token"
        self._directory.mkdir(exist_ok=True)
        file.touch(mode=0o600)
        file.write_text(secrets.token_hex(32))
        os.environ["RAY_AUTH_MODE"] = "token"
        os.environ["RAY_AUTH_TOKEN_PATH"] = str(file)
        _Config.initialize("")  # has read it, too


@contextlib.contextmanager
def _secrets_hidden() -> Iterator[None]:
    """Without secrets in the environment, which all of Ray's processes would inherit; no actor needs them."""
    hidden = {name: os.environ[name] for name in os.environ if name.upper() in secret_variables(Settings)}
    for name in hidden:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(hidden)

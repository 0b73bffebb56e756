"""Ray's autoscaler, with its provider of fake nodes, brings as many cells as the supervisor asks for.

All is on one machine of its own (a namespace). The kernel chooses the ports of gateways, so that several
nodes can be there.
"""

import asyncio
import json
import re
import secrets
import sys
from collections.abc import Iterator
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

import pytest

from doorstep.development.processes import ServerProcess
from doorstep.development.valkey import ValkeyProcess
from tests.support.browser import Browser
from tests.support.kafka import kafka_process
from tests.support.machines import Machine, machines
from tests.support.names import Names
from tests.support.plugin import FigureRecorder
from tests.support.service import SECRET
from tests.support.waiting import PATIENCE_S

_BIN = Path(sys.executable).parent
_GCS = 6379
_NODE_TYPES = {
    "ray.head.default": {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
    "cell": {
        "resources": {"CPU": 1, "cell": 1, "object_store_memory": 80_000_000},
        "node_config": {},
        "min_workers": 0,
        "max_workers": 4,
    },
}
_WITHOUT = (
    "cluster_synced_files",
    "rsync_exclude",
    "rsync_filter",
    "initialization_commands",
    "setup_commands",
    "head_setup_commands",
    "worker_setup_commands",
    "head_start_ray_commands",
    "worker_start_ray_commands",
)
_AUTOSCALING = {
    "cluster_name": "fake",
    "max_workers": 4,
    "upscaling_speed": 1.0,
    "idle_timeout_minutes": 5,
    "provider": {"type": "fake_multinode", "disable_node_updaters": True},
    "auth": {"ssh_user": "nobody"},
    "head_node_type": "ray.head.default",
    "available_node_types": _NODE_TYPES,
    # Ray wants them to be there.
    "file_mounts": {},
    "file_mounts_sync_continuously": False,
    "docker": {},
    **{name: [] for name in _WITHOUT},
}
_RAY = {
    "RAY_AUTH_MODE": "token",
    "RAY_AUTH_TOKEN": secrets.token_hex(32),
    "RAY_FAKE_CLUSTER": "1",
    "AUTOSCALER_UPDATE_INTERVAL_S": "1",
    "RAY_raylet_start_wait_time_s": "120",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_enable_metrics_collection": "0",
}


@pytest.fixture
def serve(tmp_path: Path, names: Names) -> Iterator[tuple[Machine, ServerProcess]]:
    """`doorstep serve` on a machine whose Ray scales, not started yet."""
    with machines(1, tmp_path) as (us, (machine,)), ExitStack() as servers:
        (tmp_path / "kafka").mkdir()
        kafka = kafka_process(tmp_path / "kafka", {"num.partitions": "4"}, host=us)
        valkey = ValkeyProcess(tmp_path, {"bind": f"127.0.0.1 {us}", "protected-mode": "no"})
        for server in (kafka, valkey):
            servers.callback(server.stop)
            server.start()
        config = tmp_path / "autoscaling.json"
        config.write_text(json.dumps(_AUTOSCALING))
        command = [
            "ray",
            "start",
            "--head",
            f"--port={_GCS}",
            f"--autoscaling-config={config}",
            "--num-cpus=0",
        ]
        options = [f"--node-ip-address={machine.address}", "--object-store-memory=80000000"]
        machine.run(str(_BIN / command[0]), *command[1:], *options, "--include-dashboard=false", env=_RAY)
        env = {
            "DOORSTEP_RAY__ADDRESS": f"{machine.address}:{_GCS}",
            "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "DOORSTEP_KAFKA__GROUP_ID": names.group(),
            "DOORSTEP_REDIS__URL": f"redis://{us}:{valkey.port}",
            "DOORSTEP_AUTH__HS256_SECRET": SECRET,
            "DOORSTEP_GATEWAY__HOST": machine.address,
            "DOORSTEP_GATEWAY__PORT": "0",
            "DOORSTEP_ADMIN__PORT": "0",
            "DOORSTEP_AUTOSCALE__MAX_CELLS": "3",
            "DOORSTEP_AUTOSCALE__CONNECTIONS_PER_CELL": "10",
            **_RAY,
        }
        serve = machine.process("doorstep", [str(_BIN / "doorstep"), "serve"], env)
        servers.callback(serve.kill)
        yield machine, serve


async def _until(machine: Machine, name: str, number: int) -> float:
    """Wait for so many processes that are called so; how long it took."""
    began = asyncio.get_running_loop().time()
    while len(await asyncio.to_thread(machine.processes, name)) != number:
        assert asyncio.get_running_loop().time() - began < 90
        await asyncio.sleep(0.2)
    return asyncio.get_running_loop().time() - began


@pytest.mark.kafka
@pytest.mark.valkey
@pytest.mark.ray
async def test_a_cell_comes_for_the_connections_that_need_one(
    serve: tuple[Machine, ServerProcess], names: Names, record_figure: FigureRecorder
) -> None:
    machine, process = serve
    process.start()
    record_figure("the first cell, from nothing", f"{await _until(machine, 'ray::GatewayProcess', 1):.1f} s")
    serving = re.compile(r'"url": ?"http://([^"]+)"')
    await asyncio.to_thread(
        process.wait_until, lambda: serving.search(process.output(1000)) is not None, timeout_s=PATIENCE_S
    )
    found = serving.search(process.output(1000))
    assert found is not None
    async with AsyncExitStack() as devices:
        for number in range(25):
            await devices.enter_async_context(Browser(found[1], names.user(number)))
        # Nodes, not their cells: ids of fake nodes differ in their last digits, and cells are named by the
        # first ones.
        took = await _until(machine, "raylet", 1 + 3)
        record_figure("two more nodes, for 25 connections at 10 each", f"{took:.1f} s")
        assert re.search(r'"cells": ?3', process.output(1000))

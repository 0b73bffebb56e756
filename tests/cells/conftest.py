"""Three machines on this one, a Kafka and a Valkey, for the tests of this folder."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from doorstep.development.valkey import ValkeyProcess
from tests.cells.site import Site
from tests.support.kafka import kafka_process
from tests.support.machines import machines
from tests.support.names import Names

collect_ignore = [] if os.environ.get("DOORSTEP_TEST_CELLS") == "1" else ["test_long_faults.py"]
"""They take half an hour: `make cells` runs them."""

_PATIENT = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}


@pytest.fixture
def site(tmp_path: Path, names: Names) -> Iterator[Site]:
    """Nothing runs on the machines yet. What Ray's control plane knows is kept in a Valkey of its own."""
    with machines(3, tmp_path) as (us, others), contextlib.ExitStack() as servers:
        for name in ("kafka", "valkey", "gcs"):
            (tmp_path / name).mkdir()
        kafka = kafka_process(tmp_path / "kafka", {"num.partitions": "8"}, host=us)
        options = {"bind": f"127.0.0.1 {us}", "protected-mode": "no"}
        valkey, gcs = (ValkeyProcess(tmp_path / name, options) for name in ("valkey", "gcs"))
        for server in (kafka, valkey, gcs):
            servers.callback(server.stop)
            server.start()
        yield Site(
            others,
            us,
            kafka.bootstrap,
            f"redis://{us}:{valkey.port}",
            names.group(),
            ray=_PATIENT,
            head={"RAY_REDIS_ADDRESS": f"{us}:{gcs.port}"},
        )

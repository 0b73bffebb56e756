"""What operators see of a running service, and of one of whose actors dies."""

import json
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from doorstep.actors.runtime.last_words import SAID_NOTHING
from tests.e2e.conftest import Launch
from tests.support.components import missing, used
from tests.support.service import Service

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations.md"


@pytest.fixture(scope="module")
def service(launch: Launch) -> Iterator[Service]:
    """One for all tests here, with a canary; it is ready when that has come."""
    with launch(DOORSTEP_CANARY__INTERVAL_S="0.5", DOORSTEP_CANARY__TIMEOUT_S="4") as service:
        service.wait_until(lambda: _is_canary_up(service), "a canary")
        yield service


def test_its_probes_and_status(service: Service) -> None:
    assert [service.probe(path) for path in ("/livez", "/readyz", "/status", "/metrics")] == [200] * 4
    told = service.status()
    assert set(told["actors"]) == {"supervisor", "holder-0", "consumer-0", "gateway"}
    assert len({actor["process"]["digest"] for actor in told["actors"].values()}) == 1


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/status", "/metrics"])
def test_the_public_port_says_nothing_of_it(service: Service, path: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        service.get(path)
    assert json.loads(service.get("/healthz")) == {"status": "alive"}


def test_the_metrics_are_those_of_the_manual(service: Service) -> None:
    types = re.findall(r"^# TYPE (\S+) (\S+)$", service.ask("/metrics").decode(), re.MULTILINE)
    manual = OPERATIONS.read_text().partition("## Metrics")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \|", manual, re.MULTILINE)
    assert sorted(rows) == sorted(types)


MOVED_BY_A_CANARY = (
    *("build_info", "consumer_append_seconds_count", "consumer_partitions", "consumer_records_total"),
    *("gateway_handover_seconds_count", "log_reads_total", "loop_lag_seconds_count", "loop_tasks"),
    *("process_cpu_seconds_total", "process_max_fds", "process_open_fds", "process_resident_memory_bytes"),
    *("process_start_time_seconds", "process_virtual_memory_bytes", "redis_round_trip_seconds_count"),
    *("pushes_total", "sent_bytes_total"),
)


@pytest.mark.parametrize("name", MOVED_BY_A_CANARY)
def test_what_happens_is_counted(service: Service, name: str) -> None:
    values = re.findall(rf"^doorstep_{name}\{{.*}} (\S+)$", service.ask("/metrics").decode(), re.MULTILINE)
    assert max(map(float, values)) > 0


def test_its_canary_comes_and_is_timed(service: Service) -> None:
    page = service.ask("/metrics").decode()
    counted = re.search(r'^doorstep_canary_seconds_count\{actor="gateway"\} (\S+)$', page, re.MULTILINE)
    assert counted is not None
    assert float(counted[1]) > 0


def test_an_outage_is_known_by_its_canary(service: Service) -> None:
    (holder,) = service.actors("Holder")
    holder.suspend()
    try:
        canary = ("gateway", "canary")
        service.wait_until(lambda: canary in service.troubles(), "a lost canary")
        assert service.troubles()[canary]["reason"]
        assert not _is_canary_up(service)
    finally:
        holder.resume()
    service.wait_until_ready()


def test_prometheus_finds_nothing_wrong_with_the_metrics(service: Service) -> None:
    promtool = shutil.which("promtool") or missing("promtool", "on Debian: apt-get install prometheus")
    used["promtool"] = promtool
    command = [promtool, "check", "metrics"]
    checked = subprocess.run(command, input=service.ask("/metrics"), capture_output=True, check=False)
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


def test_the_command_tells_people(service: Service) -> None:
    url = f"http://127.0.0.1:{service.admin_port}"
    command = [str(Path(sys.executable).with_name("doorstep")), "status", "--url", url]
    table = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert re.search(r"^holder-0 +serving ", table, re.MULTILINE)
    assert "all is well" in table
    told = subprocess.run([*command, "--json"], capture_output=True, check=True).stdout
    assert json.loads(told)["ok"] is True


def test_an_actor_that_dies_is_seen_and_every_line_is_json(service: Service) -> None:
    (holder,) = service.actors("Holder")
    holder.kill()
    service.wait_until(lambda: "holder-0" in _restarted(service), "a restart")
    service.wait_until_ready()
    service.wait_until(
        lambda: any(f"Worker PID: {holder.pid} " in text for text in _of_ray(service)), "what Ray says of it"
    )
    lines = _lines(service)
    assert all({"actor", "level", "event", "timestamp"} <= set(line) for line in lines)
    restarts = [line for line in lines if line["event"] == "actor_restarted"]
    told = [(line["actor"], line["level"], line["former_pid"], line["reason"]) for line in restarts]
    assert told == [("holder-0", "warning", holder.pid, SAID_NOTHING)]
    assert [f"Worker PID: {holder.pid} " in text for text in _of_ray(service)] == [True]
    assert {line["event"] for line in lines if not re.fullmatch(r"[a-z0-9_]+", line["event"])} == set()


def _lines(service: Service) -> list[dict[str, Any]]:
    """All that it has said; the last line may not be whole yet."""
    said = service.process.log.read_text().splitlines(keepends=True)
    return [json.loads(line) for line in said if line.endswith("\n")]


def _of_ray(service: Service) -> list[str]:
    printed = [line["text"] for line in _lines(service) if line["event"] == "printed"]
    return [text for text in printed if "worker died" in text]


def _is_canary_up(service: Service) -> bool:
    return b'\ndoorstep_canary_up{actor="gateway"} 1.0\n' in service.ask("/metrics")


def _restarted(service: Service) -> set[str]:
    page = service.ask("/metrics").decode()
    return set(re.findall(r'^doorstep_actor_restarts_total\{actor="([^"]+)"\} 1', page, re.MULTILINE))

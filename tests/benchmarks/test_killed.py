"""Whatever is killed: a clear error soon, no verdict, and no process left behind."""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.benchmarks.conftest import CONTRACT_SERVER, write_scenarios
from tests.support.servers import KafkaServer, ValkeyServer

LONG = """
users = 40
[[load]]
name = "load"
rate = 200
duration_s = 60
"""
MARK = "DOORSTEP_TEST_MARK"
ERROR_S = 20.0


class Bench:
    """`doorstep bench run` as a process."""

    def __init__(self, process: subprocess.Popen[str], mark: str, out: Path) -> None:
        self.process = process
        self.out = out
        self._mark = mark

    def pids(self, word: str = "") -> list[int]:
        """Processes that it has started, itself included, with `word` in the command line."""
        everyone = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
        return [pid for pid in everyone if self._has(pid, word)]

    def _has(self, pid: int, word: str) -> bool:
        try:
            tagged = f"{MARK}={self._mark}".encode() in Path(f"/proc/{pid}/environ").read_bytes()
            return tagged and word.encode() in Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False

    def wait_for(self, word: str) -> int:
        """The process with `word` in its command line, once the load runs."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            others = [pid for pid in self.pids(word) if pid != self.process.pid]
            if others and self.is_loading():
                return others[0]
            assert self.process.poll() is None, self.process.communicate()
            time.sleep(0.1)
        raise TimeoutError(word)

    def is_loading(self) -> bool:
        """Whether the swarms have their connections."""
        swarms = self.pids("benchmarks.swarm")
        with contextlib.suppress(OSError):
            return bool(swarms) and all(_open_files(pid) > 20 for pid in swarms)
        return False

    def end(self, timeout_s: float = ERROR_S) -> tuple[int, str]:
        """Its exit code and what it said."""
        _, said = self.process.communicate(timeout=timeout_s)
        return self.process.returncode, said


@pytest.fixture
def bench(kafka: KafkaServer, valkey: ValkeyServer, tmp_path: Path) -> Iterator[Callable[[str], Bench]]:
    started: list[Bench] = []

    def start(scenario: str) -> Bench:
        mark, out = uuid.uuid4().hex, tmp_path / "out"
        scenarios = write_scenarios(tmp_path / "scenarios", {scenario: LONG})
        program = "from doorstep.benchmarks.cli import app; app()"
        options = {
            "--scenarios": str(scenarios),
            "--serve": shlex.join(CONTRACT_SERVER),
            "--kafka": kafka.bootstrap,
            "--redis": valkey.url,
            "--out": str(out),
            "--warm-up": "0.2",
        }
        arguments = [part for option in options.items() for part in option]
        process = subprocess.Popen(
            [sys.executable, "-c", program, "run", *arguments],
            env={**os.environ, MARK: mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(Bench(process, mark, out))
        return started[-1]

    yield start
    for one in started:
        for pid in one.pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        one.process.wait()


def _open_files(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def _assert_nothing_is_left(bench: Bench) -> None:
    deadline = time.monotonic() + 10
    while bench.pids() and time.monotonic() < deadline:
        time.sleep(0.1)
    assert bench.pids() == []
    assert not (bench.out / "report.json").exists()


@pytest.mark.parametrize("module", ["swarm", "producer"])
def test_a_killed_generator(bench: Callable[[str], Bench], module: str) -> None:
    running = bench("kill-generator")

    os.kill(running.wait_for(f"benchmarks.{module}"), signal.SIGKILL)

    status, said = running.end()
    assert status == 2
    assert f"generator process {module}" in said
    assert "was killed by signal 9: no verdict" in said
    _assert_nothing_is_left(running)


def test_a_killed_server(bench: Callable[[str], Bench]) -> None:
    running = bench("kill-server")

    os.kill(running.wait_for("contract_server"), signal.SIGKILL)

    status, said = running.end()
    assert status == 2
    assert "doorstep was killed by signal 9" in said
    _assert_nothing_is_left(running)


def test_a_server_that_ends_by_itself(bench: Callable[[str], Bench]) -> None:
    running = bench("die")

    status, said = running.end(timeout_s=60)  # it has to start first

    assert status == 2
    assert "doorstep ended with status 7" in said
    _assert_nothing_is_left(running)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_the_whole_benchmark_ended(bench: Callable[[str], Bench], number: signal.Signals) -> None:
    running = bench("kill-all")
    running.wait_for("benchmarks.producer")

    running.process.send_signal(number)

    status, _ = running.end()
    assert status != 0
    _assert_nothing_is_left(running)

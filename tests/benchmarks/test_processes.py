"""On real processes: what a family is, what it costs, and how it ends."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from doorstep.benchmarks.errors import ServerError
from doorstep.benchmarks.processes import ServerProcess

SLEEP = (sys.executable, "-c", "import time; time.sleep(60)")
# A daemon: its parent is gone, and it leads a session of its own.
DAEMON = (
    sys.executable,
    "-c",
    "import os, time\nif not os.fork():\n os.setsid()\n if os.fork(): os._exit(0)\ntime.sleep(60)",
)
# Overwrites its environment as `setproctitle` does, by starting a child without any.
CHILD_WITHOUT_ENVIRONMENT = (
    sys.executable,
    "-c",
    "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'], env={})",
)


def _wait_for_family(server: ServerProcess, size: int) -> list[int]:
    deadline = time.monotonic() + 10
    while len(family := server.family()) < size and time.monotonic() < deadline:
        time.sleep(0.02)
    return [reading.pid for reading in family]


def _lives(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("command", "size"), [(SLEEP, 1), (DAEMON, 2), (CHILD_WITHOUT_ENVIRONMENT, 2)])
def test_the_whole_family_is_found_and_ended(tmp_path: Path, command: tuple[str, ...], size: int) -> None:
    with ServerProcess("sample", command, directory=tmp_path) as server:
        pids = _wait_for_family(server, size)
        assert len(pids) == size
        assert server.pid in pids

    assert not any(map(_lives, pids))


def test_a_family_is_found_when_its_head_was_killed(tmp_path: Path) -> None:
    server = ServerProcess("sample", DAEMON, directory=tmp_path)
    head, daemon = server.pid, next(pid for pid in _wait_for_family(server, 2) if pid != server.pid)
    os.kill(head, signal.SIGKILL)

    with pytest.raises(ServerError, match="was killed by signal 9"):
        server.wait_until(lambda: False, 5)
    server.stop()

    assert not _lives(daemon)


def test_one_that_does_not_hear_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doorstep.benchmarks.processes._STOP_S", 0.2)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    server = ServerProcess("sample", (sys.executable, "-c", deaf), directory=tmp_path)
    server.wait_until(lambda: "deaf" in (tmp_path / "sample.log").read_text(), 10)

    server.stop()

    assert not _lives(server.pid)


def test_the_error_has_what_it_said(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "print('no such port'); raise SystemExit(3)")

    with (
        ServerProcess("sample", command, directory=tmp_path) as server,
        pytest.raises(ServerError, match=r"sample ended with status 3\n  it said: no such port"),
    ):
        server.wait_until(lambda: False, 10)


def test_a_command_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="sample did not start"):
        ServerProcess("sample", ["/nowhere/at-all"], directory=tmp_path)


def test_cpu_and_memory_are_measured(tmp_path: Path) -> None:
    burn = "import time\nx = bytearray(50_000_000)\nwhile time.process_time() < 0.5: pass\ntime.sleep(60)"
    with ServerProcess("sample", (sys.executable, "-c", burn), directory=tmp_path) as server:
        deadline = time.monotonic() + 20
        while (reading := server.family()[0]).cpu_s < 0.45 and time.monotonic() < deadline:
            time.sleep(0.05)

        assert reading.cpu_s == pytest.approx(0.5, abs=0.07)
        assert server.memory_bytes()[server.pid] > 50_000_000


def test_it_can_be_stopped_and_goes_on(tmp_path: Path) -> None:
    count = "import time\nfor n in range(10**9): print(n, flush=True); time.sleep(0.01)"
    log = tmp_path / "sample.log"
    with ServerProcess("sample", (sys.executable, "-c", count), directory=tmp_path) as server:
        server.wait_until(lambda: len(log.read_text()) > 10, 10)
        server.signal(signal.SIGSTOP)
        time.sleep(0.1)
        stopped_at = log.read_text()
        time.sleep(0.2)
        assert log.read_text() == stopped_at

        server.signal(signal.SIGCONT)
        server.wait_until(lambda: log.read_text() != stopped_at, 10)

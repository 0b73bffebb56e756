"""On real processes: what a family is, what it costs, and how it ends."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from doorstep.benchmarks.family import Family
from doorstep.development.processes import ServerError, ServerProcess
from tests.support.waiting import PATIENCE_S

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


def _start(directory: Path, command: tuple[str, ...]) -> Family:
    return Family.start(ServerProcess(command, log=directory / "sample.log"), lambda: True, 10)


def _wait_for_family(family: Family, size: int) -> list[int]:
    deadline = time.monotonic() + 10
    while len(readings := family.readings()) < size and time.monotonic() < deadline:
        time.sleep(0.02)
    return [reading.pid for reading in readings]


def _lives(pid: int) -> bool:
    try:
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("command", "size"), [(SLEEP, 1), (DAEMON, 2), (CHILD_WITHOUT_ENVIRONMENT, 2)])
def test_the_whole_family_is_found_and_ended(tmp_path: Path, command: tuple[str, ...], size: int) -> None:
    with _start(tmp_path, command) as family:
        pids = _wait_for_family(family, size)
        assert len(pids) == size
        assert family.process.pid in pids

    assert not any(map(_lives, pids))


def test_a_family_is_found_when_its_head_was_killed(tmp_path: Path) -> None:
    family = _start(tmp_path, DAEMON)
    head = family.process.pid
    daemon = next(pid for pid in _wait_for_family(family, 2) if pid != head)
    os.kill(head, signal.SIGKILL)

    with pytest.raises(ServerError, match="was killed by signal 9"):
        family.process.wait_until(lambda: False, timeout_s=5)
    family.stop()

    assert not _lives(daemon)


def test_one_that_does_not_hear_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("doorstep.benchmarks.family._STOP_S", 0.2)
    deaf = "import signal, time; signal.signal(15, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    family = _start(tmp_path, (sys.executable, "-c", deaf))
    pid = family.process.pid
    family.process.wait_until(lambda: "deaf" in family.process.output(), timeout_s=PATIENCE_S)

    family.stop()

    assert not _lives(pid)


def test_one_that_does_not_get_ready_is_ended(tmp_path: Path) -> None:
    process = ServerProcess(SLEEP, log=tmp_path / "sample.log")
    pids = []

    def never() -> bool:
        pids.append(process.pid)
        return False

    with pytest.raises(ServerError, match=r"sample was not ready within 0\.1 s; it said nothing"):
        Family.start(process, never, 0.1)
    assert not _lives(pids[0])


def test_cpu_and_memory_are_measured(tmp_path: Path) -> None:
    burn = "import time\nx = bytearray(50_000_000)\nwhile time.process_time() < 0.5: pass\ntime.sleep(60)"
    with _start(tmp_path, (sys.executable, "-c", burn)) as family:
        deadline = time.monotonic() + 20
        while (reading := family.readings()[0]).cpu_s < 0.45 and time.monotonic() < deadline:
            time.sleep(0.05)

        assert reading.cpu_s == pytest.approx(0.5, abs=0.07)
        assert family.memory_bytes()[family.process.pid] > 50_000_000


def test_it_can_be_stopped_and_goes_on(tmp_path: Path) -> None:
    count = "import time\nfor n in range(10**9): print(n, flush=True); time.sleep(0.01)"
    with _start(tmp_path, (sys.executable, "-c", count)) as family:
        log, process = family.process.log, family.process
        process.wait_until(lambda: len(log.read_text()) > 10, timeout_s=PATIENCE_S)
        family.signal(signal.SIGSTOP)
        time.sleep(0.1)
        stopped_at = log.read_text()
        time.sleep(0.2)
        assert log.read_text() == stopped_at

        family.signal(signal.SIGCONT)
        process.wait_until(lambda: log.read_text() != stopped_at, timeout_s=PATIENCE_S)

"""What stands in for Ray's agents: the ports it writes down, and its end."""

import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from doorstep.actors.runtime import idle_agent

NAMES = ["metrics_agent_port", "runtime_env_agent_port"]
PARENT = "import subprocess, sys; subprocess.Popen(sys.argv[1:]).wait()"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_reserves_ports_writes_them_down_and_ends_with_its_raylet(tmp_path: Path) -> None:
    agent = [sys.executable, "-I", "-S", idle_agent.__file__, str(tmp_path), "n0de", *NAMES]
    with subprocess.Popen([sys.executable, "-c", PARENT, *agent]) as raylet:
        files = [tmp_path / f"{name}_n0de" for name in NAMES]
        wait_until(lambda: all(file.exists() for file in files))
        ports = {int(file.read_text()) for file in files}
        assert len(ports) == len(NAMES)
        for port in ports:
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", port))
            with socket.socket() as other, pytest.raises(OSError, match="in use"):
                other.bind(("127.0.0.1", port))
        [process] = psutil.Process(raylet.pid).children()
        raylet.send_signal(signal.SIGKILL)
    wait_until(lambda: not process.is_running() or process.status() == psutil.STATUS_ZOMBIE)
    assert sorted(tmp_path.iterdir()) == sorted(files)

"""What a process leaves behind, however it ends, is taken away."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

OWNER = """
import subprocess, sys, time
from pathlib import Path
from doorstep.actors.runtime.undertaker import Undertaker

directory = Path(sys.argv[1])
mine = (directory / "mine").open("w")
child = "import sys, time; f = open(sys.argv[1], 'w'); print('up', flush=True); time.sleep(60)"
undertaker = Undertaker(directory, 1)
left = subprocess.Popen([sys.executable, "-c", child, str(directory / "its")], stdout=subprocess.PIPE)
left.stdout.readline()
print(left.pid, flush=True)
sys.stdin.readline()
undertaker.finish()
print("alive", flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="processes are found in /proc")
@pytest.mark.parametrize("how", ["killed", "asked"])
def test_nothing_is_left(tmp_path: Path, how: str) -> None:
    directory = tmp_path / "session"
    directory.mkdir()
    with subprocess.Popen(
        [sys.executable, "-c", OWNER, str(directory)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as owner:
        assert owner.stdout is not None
        assert owner.stdin is not None
        left = psutil.Process(int(owner.stdout.readline()))
        if how == "killed":
            os.killpg(owner.pid, signal.SIGTERM)
            os.kill(owner.pid, signal.SIGKILL)
        else:
            owner.stdin.write("\n")
            owner.stdin.flush()
            assert owner.stdout.readline() == "alive\n"
    deadline = time.monotonic() + 30
    while (directory.exists() or _runs(left)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not directory.exists()
    assert not _runs(left)


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE

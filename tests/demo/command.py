"""The command `doorstep demo` as a process of its own, and what is left of it when it has ended."""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path

import psutil

from doorstep.development.processes import ServerProcess

START_S = 240.0
STOP_S = 5.0

_STAYS = ("ray", "doorstep-ports-")
"""Ray's logs, and the list of ports in use, which all processes of a user share."""
_MARK = "DOORSTEP_TEST_MARK"


class DemoCommand:
    """`doorstep demo` with free ports; its output is `log` in `directory`."""

    def __init__(self, directory: Path, *arguments: str, **environment: str) -> None:
        self._mark = uuid.uuid4().hex
        # Not in `directory`: Ray's sockets are deep in it, and the path of a socket must be short.
        self.temporary = Path(tempfile.mkdtemp(prefix="ds-"))
        inherited = {
            "DOORSTEP_GATEWAY__PORT": "0",
            "TMPDIR": str(self.temporary),
            _MARK: self._mark,
            "PYTHONUNBUFFERED": "1",
        }
        script = Path(sys.executable).with_name("doorstep")
        self.process = ServerProcess(
            [str(script), "demo", "--port", "0", *arguments],
            log=directory / "log",
            env=inherited | environment,
        )

    @property
    def url(self) -> str:
        """Where the page is."""
        return self._said(r"Open (http://\S+) ")

    @property
    def gateway_url(self) -> str:
        """Where Doorstep is."""
        return self._said(r"ready at (http://\S+)")

    def start(self) -> None:
        """Returns when it says where the page is."""
        self.process.start()
        self.process.wait_until(
            lambda: "Open http" in self.process.output(200), what="the demo", timeout_s=START_S
        )

    def end(self, number: signal.Signals, within_s: float = 60) -> tuple[int, float]:
        """Send it a signal; returns its exit status, and the seconds it took to end."""
        began = time.monotonic()
        self.process.signal(number)
        try:
            status = self.process.wait(within_s)
        except subprocess.TimeoutExpired as error:
            left = "\n".join(_name(one) for one in self.members())
            raise AssertionError(f"{self.process.output(200)}\nstill there:\n{left}") from error
        return status, time.monotonic() - began

    def members(self, name: str = "") -> list[psutil.Process]:
        """The living processes that belong to it, wherever they are in the tree, and have this name."""
        return [one for one in psutil.process_iter() if name in _name(one) and self._is_ours(one)]

    def survivors(self, patience_s: float = 1.0) -> list[str]:
        """What still lives shortly after it has ended, and the temporary files it left (but what stays)."""
        deadline = time.monotonic() + patience_s
        while self.members() and time.monotonic() < deadline:
            time.sleep(0.05)
        files = [each.name for each in self.temporary.iterdir() if not each.name.startswith(_STAYS)]
        return [_name(one) for one in self.members()] + files

    def close(self) -> None:
        """End whatever is left of it."""
        self.process.kill()
        for one in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        shutil.rmtree(self.temporary, ignore_errors=True)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            alive = process.status() != psutil.STATUS_ZOMBIE
            return alive and process.environ().get(_MARK) == self._mark
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, self.process.output(200))
        assert found, self.process.output(200)
        return found[1]


def _name(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""

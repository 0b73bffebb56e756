"""Processes of the tests: each leads its own process group, and none outlives the test run."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

_guard: subprocess.Popen[str] | None = None


class ProcessError(Exception):
    """A process of a test ended, or did not get ready in time; the message has the end of its log."""


def _tell_guard(order: str) -> None:
    # One guard serves the whole run. Not PR_SET_PDEATHSIG: that is Linux only, and fires when the *thread*
    # that started the process ends.
    global _guard  # noqa: PLW0603
    if _guard is None:
        script = Path(__file__).with_name("guard.py")
        _guard = subprocess.Popen(
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    assert _guard.stdin is not None
    _guard.stdin.write(order + "\n")
    _guard.stdin.flush()


class ServerProcess:
    """One command that can be started and ended many times; its output is appended to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        self.command = tuple(command)
        self.log = log
        self._env = None if env is None else {**os.environ, **env}
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id, and id of the process group. Raises `ProcessError` when it isn't running."""
        if self._process is None:
            raise ProcessError(f"{self.command[0]} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; a running one is left alone."""
        if self.running:
            return
        self._forget()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=self._env,
                cwd=self._cwd,
                start_new_session=True,
            )
        _tell_guard(f"+{self._process.pid}")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process itself, not to its group."""
        os.kill(self.pid, number)

    def stop(self, timeout_s: float = 15) -> int | None:
        """Ask it to end (SIGTERM) and wait; after `timeout_s` its whole group is killed. Its exit status."""
        if self._process is None:
            return None
        with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait(timeout_s)
        return self.kill()

    def kill(self) -> int | None:
        """SIGKILL to the whole process group; returns the exit status of its leader once that is gone."""
        if self._process is None:
            return None
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        status = self._process.wait()
        self._forget()
        return status

    def wait(self, timeout_s: float) -> int:
        """Exit status once it ends by itself. Raises `subprocess.TimeoutExpired`."""
        if self._process is None:
            raise ProcessError(f"{self.command[0]} is not running")
        return self._process.wait(timeout_s)

    def wait_until(self, ready: Callable[[], bool], *, what: str, timeout_s: float) -> None:
        """Poll `ready` until it holds. Raises `ProcessError` if the process ends, or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            if not self.running:
                raise ProcessError(f"{what}: the process ended\n{self.output()}")
            if time.monotonic() > deadline:
                raise ProcessError(f"{what}: not ready after {timeout_s:g} s\n{self.output()}")
            time.sleep(0.02)

    def output(self, lines: int = 40) -> str:
        """The last lines it wrote."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def _forget(self) -> None:
        if self._process is not None:
            _tell_guard(f"-{self._process.pid}")
            self._process = None

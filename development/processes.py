"""Processes of servers: each leads its own process group, and none outlives the program that started it."""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

FAMILY = "DOORSTEP_FAMILY"
"""Environment variable that all descendants of a `ServerProcess` inherit, with its `tag`."""

_POLL_S = 0.02
_LOG_LINES = 40

_guard: subprocess.Popen[str] | None = None


class ServerError(Exception):
    """A server ended, or did not get ready in time; the message has the end of its log."""


def _tell_guard(order: str) -> None:
    # One guard serves the whole run. Not PR_SET_PDEATHSIG: that is Linux only, and fires when the *thread*
    # that started the process ends.
    global _guard  # noqa: PLW0603
    if _guard is None:
        script = Path(__file__).with_name("guard.py")
        _guard = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", str(script)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
    assert _guard.stdin is not None
    _guard.stdin.write(order + "\n")
    _guard.stdin.flush()


@contextlib.contextmanager
def temporary_directory(prefix: str) -> Iterator[Path]:
    """A directory that nobody else may read; it is gone when the block ends, or this process dies."""
    directory = Path(tempfile.mkdtemp(prefix=prefix)).resolve()
    _tell_guard(f"+{directory}")
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)
        _tell_guard(f"-{directory}")


class ServerProcess:
    """One command that can be started and ended many times; its output is appended to `log`.

    Ctrl-C in the terminal does not reach it.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        log: Path,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
    ) -> None:
        """`env` is added to ours. Messages call it by the name of its log."""
        self.command = tuple(command)
        self.log = log
        self.name = log.stem
        self.tag = uuid.uuid4().hex
        self._env = {**os.environ, **(env or {}), FAMILY: self.tag}
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id, and id of the process group. Raises `ServerError` when it isn't running."""
        if self._process is None:
            raise ServerError(f"{self.name} is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended since."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start it; a running one is left alone. Raises `ServerError` when there is no such command."""
        if self.running:
            return
        self._forget()
        try:
            with self.log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._cwd,
                    start_new_session=True,
                )
        except OSError as error:
            raise ServerError(f"{self.name} did not start: {error}") from error
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
            raise ServerError(f"{self.name} is not running")
        return self._process.wait(timeout_s)

    def check(self) -> None:
        """Raises `ServerError` if it has ended."""
        status = None if self._process is None else self._process.poll()
        if status is not None:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise ServerError(f"{self.name} {how}{self._said()}")

    def wait_until(self, ready: Callable[[], bool], *, timeout_s: float, what: str | None = None) -> None:
        """Poll `ready` until it holds. Raises `ServerError` if the process ends, or time runs out; `what`
        was waited for, if not the process itself."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServerError(f"{what or self.name} was not ready within {timeout_s:g} s{self._said()}")
            time.sleep(_POLL_S)

    def output(self, lines: int = _LOG_LINES) -> str:
        """The last lines it wrote."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        """Start it for as long as a block."""
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _said(self) -> str:
        said = self.output().replace("\n", "\n  ")
        return f"\n  it said: {said}" if said else "; it said nothing"

    def _forget(self) -> None:
        if self._process is not None:
            _tell_guard(f"-{self._process.pid}")
            self._process = None

"""Processes of servers under test, found again whatever they fork: what they cost, and how they end.

Every process that a `ServerProcess` starts, at whatever depth, is of its family. It is known by a variable in
its environment, by descent from one that has it, or from before: Ray's workers overwrite their environment,
and daemons lose their parent. Linux only, as all of this package.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Self

from doorstep.benchmarks.errors import ServerError

_TAG = "DOORSTEP_BENCH_FAMILY"
_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PR_SET_PDEATHSIG = 1
_POLL_S = 0.02
_STOP_S = 10.0
_KILL_S = 5.0
_LOG_LINES = 30


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process of a family at one moment."""

    pid: int
    command: str
    """Its command line, blank-separated; what it calls itself where it has changed that."""
    cpu_s: float
    """User and system time so far."""


class ServerProcess:
    """One server, started at once; `with` ends it and its whole family."""

    def __init__(
        self, name: str, command: Sequence[str], *, directory: Path, env: Mapping[str, str] | None = None
    ) -> None:
        """Its output goes to `<name>.log` in `directory`, where it also runs. `env` is added to ours.

        Raises `ServerError` when there is no such command.
        """
        self.name = name
        self._tag = uuid.uuid4().hex
        self._known: dict[int, str] = {}  # pid -> start time, of the family as it was seen last
        self._log = directory / f"{name}.log"
        try:
            with self._log.open("ab") as log:
                self._process = subprocess.Popen(  # noqa: S603 - our own command
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env={**os.environ, **(env or {}), _TAG: self._tag},
                    cwd=directory,
                    start_new_session=True,  # Ctrl-C is ours to deal with
                    preexec_fn=partial(_die_with_parent, os.getpid()),  # noqa: PLW1509 - no threads yet
                )
        except OSError as error:
            raise ServerError(f"{name} did not start: {error}") from error

    @property
    def pid(self) -> int:
        """Of the process that was started itself."""
        return self._process.pid

    def wait_until(self, ready: Callable[[], bool], timeout_s: float) -> None:
        """Poll `ready` until it holds. Raises `ServerError` if the server ends, or time runs out."""
        deadline = time.monotonic() + timeout_s
        while not ready():
            self.check()
            if time.monotonic() > deadline:
                raise ServerError(f"{self.name} was not ready within {timeout_s:g} s{self._said()}")
            time.sleep(_POLL_S)

    def check(self) -> None:
        """Raises `ServerError` if it has ended."""
        status = self._process.poll()
        if status is not None:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            raise ServerError(f"{self.name} {how}{self._said()}")

    def family(self) -> Sequence[ProcessReading]:
        """All processes of it that are there."""
        return [reading for pid in self._pids() if (reading := _read_process(pid)) is not None]

    def memory_bytes(self) -> Mapping[int, int]:
        """Proportional set size of each process of the family, by pid."""
        return {pid: size for pid in self._pids() if (size := _pss_bytes(pid)) is not None}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole family."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Ask it to end, wait up to 10 s, and kill what is left of the family then."""
        if self._process.poll() is None:
            self._pids()  # who is who can't be seen any more when parents are gone
            self._process.terminate()
            self.signal(signal.SIGCONT)  # a stopped process would not hear
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_S)
        deadline = time.monotonic() + _KILL_S
        while self._pids() and time.monotonic() < deadline:
            self.signal(signal.SIGKILL)
            self._process.poll()
            time.sleep(_POLL_S)
        self._process.wait(_KILL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _pids(self) -> Sequence[int]:
        children: defaultdict[int, list[int]] = defaultdict(list)
        started: dict[int, str] = {}
        found: list[int] = []
        for pid, parent, start in _processes():
            started[pid] = start
            children[parent].append(pid)
            if pid == self.pid or self._known.get(pid) == start or _has_tag(pid, self._tag):
                found.append(pid)
        for pid in found:  # grows while it is walked: children of children come too
            found.extend(child for child in children[pid] if child not in found)
        self._known = {pid: started[pid] for pid in found if pid in started}
        return found

    def _said(self) -> str:
        lines = self._log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        return "\n  it said: " + "\n  ".join(lines) if lines else "; it said nothing"


def _die_with_parent(parent: int) -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:
        os._exit(1)


def _processes() -> Iterator[tuple[int, int, str]]:
    """Every process that lives: its pid, its parent's, and when it started."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None and fields[0] != "Z":
            yield int(entry.name), int(fields[1]), fields[19]


def _stat(pid: int) -> Sequence[str] | None:
    """Fields of /proc/<pid>/stat from the third on (state, parent, …); None when it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _has_tag(pid: int, tag: str) -> bool:
    try:
        return f"{_TAG}={tag}".encode() in (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False


def _read_process(pid: int) -> ProcessReading | None:
    fields = _stat(pid)
    if fields is None:
        return None
    try:
        command = (_PROC / str(pid) / "cmdline").read_bytes()
    except OSError:
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    return ProcessReading(pid, command.replace(b"\0", b" ").decode(errors="replace").strip(), cpu_s)


def _pss_bytes(pid: int) -> int | None:
    try:
        rollup = (_PROC / str(pid) / "smaps_rollup").read_text()
    except OSError:
        return None
    return next(
        (int(line.split()[1]) * 1024 for line in rollup.splitlines() if line.startswith("Pss:")), None
    )

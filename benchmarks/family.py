"""What a server is made of, found again whatever it forks: what that costs, and how it ends.

Every process that a server starts, at whatever depth, is of its family. It is known by a variable in its
environment, by descent from one that has it, or from before: Ray's workers overwrite their environment, and
daemons lose their parent. Linux only, as all of this package.
"""

import contextlib
import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from doorstep.development.processes import FAMILY, ServerProcess

_PROC = Path("/proc")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_POLL_S = 0.02
_STOP_S = 10.0
_KILL_S = 5.0


@dataclass(frozen=True, slots=True)
class ProcessReading:
    """One process of a family at one moment."""

    pid: int
    command: str
    """Its command line, blank-separated; what it calls itself where it has changed that."""
    cpu_s: float
    """User and system time so far."""


class Family:
    """All processes of a server that runs; `with` ends them."""

    def __init__(self, process: ServerProcess) -> None:
        self.process = process
        self._known: dict[int, str] = {}  # pid -> start time, of the family as it was seen last
        if (fields := _stat(process.pid)) is not None:
            self._known[process.pid] = _started(fields)

    @classmethod
    def start(cls, process: ServerProcess, ready: Callable[[], bool], timeout_s: float) -> Self:
        """Start a server, and wait until it is ready. Raises `ServerError`; then all of it has ended."""
        process.start()
        family = cls(process)
        try:
            process.wait_until(ready, timeout_s=timeout_s)
        except BaseException:
            family.stop()
            raise
        return family

    def readings(self) -> Sequence[ProcessReading]:
        """All processes that are there."""
        return [reading for pid in self._pids() if (reading := _read_process(pid)) is not None]

    def memory_bytes(self) -> Mapping[int, int]:
        """Proportional set size of each process, by pid."""
        return {pid: size for pid in self._pids() if (size := _pss_bytes(pid)) is not None}

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to all of them."""
        for pid in self._pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def stop(self) -> None:
        """Ask the server to end, wait up to 10 s, and kill what is left of the family then."""
        self.signal(signal.SIGCONT)  # a stopped process would not hear; and who is who is seen only now
        self.process.stop(_STOP_S)
        deadline = time.monotonic() + _KILL_S
        while self._pids() and time.monotonic() < deadline:
            self.signal(signal.SIGKILL)
            time.sleep(_POLL_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _pids(self) -> Sequence[int]:
        children: defaultdict[int, list[int]] = defaultdict(list)
        started: dict[int, str] = {}
        found: list[int] = []
        tag = self.process.tag
        for pid, parent, start in _processes():
            started[pid] = start
            children[parent].append(pid)
            if self._known.get(pid) == start or _has_tag(pid, tag):
                found.append(pid)
        for pid in found:  # grows while it is walked: children of children come too
            found.extend(child for child in children[pid] if child not in found)
        self._known = {pid: started[pid] for pid in found if pid in started}
        return found


def _processes() -> Iterator[tuple[int, int, str]]:
    """Every process that lives: its pid, its parent's, and when it started."""
    for entry in _PROC.iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))) is not None and fields[0] != "Z":
            yield int(entry.name), int(fields[1]), _started(fields)


def _stat(pid: int) -> Sequence[str] | None:
    """Fields of /proc/<pid>/stat from the third on (state, parent, …); None when it is gone."""
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None


def _started(fields: Sequence[str]) -> str:
    """When a process was started: with its pid it is named for ever."""
    return fields[19]


def _has_tag(pid: int, tag: str) -> bool:
    try:
        return f"{FAMILY}={tag}".encode() in (_PROC / str(pid) / "environ").read_bytes()
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

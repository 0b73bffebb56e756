"""What cleans up after a process, however that ends, by SIGKILL too: a process of its own, this file.

It imports nothing of ours, so that it is small and there at once.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

_PROC = Path("/proc")
_LOOK_S = 0.1
_SERVERS = ("gcs_server", "raylet")
_NAMES = (*_SERVERS, "ray::", "python")


class Undertaker:
    """Watches over this process. Once it is gone, the processes of Ray that have a file in `directory` open
    get `patience_s` seconds to end by themselves, are killed then, and the directory is removed.

    Ray's processes rename themselves, so they are known by their open files; where there is no `/proc`, only
    the directory is seen to.
    """

    def __init__(self, directory: Path, patience_s: float) -> None:
        self._process = subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, "-I", "-S", __file__, str(directory), str(patience_s)],
            stdin=subprocess.PIPE,
            env={},  # it needs no secrets of ours
            start_new_session=True,  # a signal to our group is not for it
        )

    def finish(self) -> None:
        """Let it do its work now, while this process lives. Blocks."""
        self._process.communicate()


def main(directory: Path, patience_s: float) -> None:
    """Wait for the end of stdin, which is the end of our parent or its wish, then clean up."""
    parent = os.getppid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.read()
    servers = [pid for pid, name in _users_of(directory) if name.startswith(_SERVERS)]
    _kill(servers)  # the actors notice, finish, and end
    deadline = time.monotonic() + patience_s
    while (left := [pid for pid, _ in _users_of(directory) if pid != parent]) and time.monotonic() < deadline:
        time.sleep(_LOOK_S)
    _kill(left)
    shutil.rmtree(directory, ignore_errors=True)


def _users_of(directory: Path) -> Iterator[tuple[int, str]]:
    """Pid and name of Ray's processes that have a file in the directory open."""
    for process in _PROC.glob("[0-9]*"):
        with contextlib.suppress(OSError):  # it has just ended, or is another user's
            name = (process / "comm").read_text().strip()
            if name.startswith(_NAMES) and _has_open(process, f"{directory}/"):
                yield int(process.name), name


def _has_open(process: Path, prefix: str) -> bool:
    for descriptor in (process / "fd").iterdir():
        with contextlib.suppress(OSError):
            if str(descriptor.readlink()).startswith(prefix):
                return True
    return False


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))

"""Ends what its parent has started, should the parent be killed.

Run as a script. Its stdin is a pipe from the parent: `+<group>` adds a process group, `+<path>` a directory,
`-…` takes one off. The pipe ends when the parent ends, however that happens; then the groups that are left
are asked to end (SIGTERM), killed after five seconds, and the directories are removed.
"""

import contextlib
import os
import shutil
import signal
import sys
import time
from collections.abc import Iterable

_END_S = 5.0
_POLL_S = 0.02


def main() -> None:
    """Follow the orders on stdin until it ends, then end what is left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    entrusted: set[str] = set()
    for line in sys.stdin:
        change = entrusted.add if line[0] == "+" else entrusted.discard
        change(line[1:].rstrip("\n"))
    directories = {each for each in entrusted if each.startswith("/")}
    _end_groups([int(each) for each in entrusted - directories])
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _end_groups(groups: Iterable[int]) -> None:
    left = [group for group in groups if _send(group, signal.SIGTERM)]
    deadline = time.monotonic() + _END_S
    while left and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        left = [group for group in left if _send(group, 0)]
    for group in left:
        _send(group, signal.SIGKILL)


def _send(group: int, number: int) -> bool:
    """Whether there was somebody to send it to."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)
        return True
    return False


if __name__ == "__main__":
    main()

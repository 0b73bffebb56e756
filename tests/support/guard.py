"""Kills what the test run has started, should the test run itself be killed.

Run as a script. Its stdin is a pipe from the test run: `+<group>` adds a process group, `-<group>` takes it
off. The pipe ends when the test run ends, however that happens; the groups that are left are killed then.
"""

import contextlib
import os
import signal
import sys


def main() -> None:
    """Follow the orders on stdin until it ends, then kill the groups that are left."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change = groups.add if line[0] == "+" else groups.discard
        change(int(line[1:]))
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()

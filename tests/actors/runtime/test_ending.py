"""A process that has a reason to end, such as that its parent is gone, finishes what it does, and ends."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

CHILD = """
import asyncio, sys, time
from pathlib import Path
from doorstep.actors.runtime.ending import end_for, orphaned

async def main():
    async def finish():
        Path(sys.argv[1]).write_text("finished")
    end_for(orphaned(), finish, float(sys.argv[3]))
    if sys.argv[2] == "stops":
        return
    print("ready", flush=True)
    if sys.argv[2] == "hangs":
        time.sleep(60)
    await asyncio.sleep(60)

asyncio.new_event_loop().run_until_complete(main())
print("ready", flush=True)
time.sleep(60)
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.parametrize(("how", "within_s"), [("waits", 60), ("hangs", 1), ("stops", 60)])
def test_it_ends(tmp_path: Path, how: str, within_s: float) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path / "told"), how, str(within_s)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        (child,) = psutil.Process(parent.pid).children()
        began = time.monotonic()
        parent.kill()
        child.wait(30)
        assert time.monotonic() - began < 30  # and not the 60 s that it would go on
    assert (tmp_path / "told").exists() == (how == "waits")

"""A process whose parent is gone finishes what it does, and ends."""

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

CHILD = """
import asyncio, sys, time
from pathlib import Path
from doorstep.actors.runtime.parent import end_with_parent

async def main():
    async def finish():
        Path(sys.argv[1]).write_text("finished")
    end_with_parent(finish, 1.0)
    print("ready", flush=True)
    if sys.argv[2] == "hangs":
        time.sleep(60)
    await asyncio.sleep(60)

asyncio.run(main())
"""
PARENT = "import subprocess, sys; subprocess.run([sys.executable, '-c', *sys.argv[1:]])"


@pytest.mark.parametrize("how", ["waits", "hangs"])
def test_it_ends(tmp_path: Path, how: str) -> None:
    command = [sys.executable, "-c", PARENT, CHILD, str(tmp_path / "told"), how]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        (child,) = psutil.Process(parent.pid).children()
        began = time.monotonic()
        parent.kill()
        child.wait(10)
        assert time.monotonic() - began < 5
    assert (tmp_path / "told").exists() == (how == "waits")

"""An actor's process is told why the last one ended."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from doorstep.actors.runtime.last_words import SAID_NOTHING, Life, begin_life, say_last

ACTOR = """
import asyncio, os, sys
from pathlib import Path
from doorstep.actors.runtime.ending import end_for
from doorstep.actors.runtime.last_words import begin_life
from doorstep.actors.runtime.main_task import MainTask

async def fails():
    raise LookupError("what\\nwent wrong")

async def nothing():
    pass

async def actor():
    begin_life(Path(sys.argv[1]))
    if sys.argv[2] == "fails":
        main_task = MainTask(fails())
    elif sys.argv[2] == "has a reason":
        end_for(lambda: "its node is gone", nothing, 1.0)
    else:
        os.kill(os.getpid(), 9)
    await asyncio.sleep(60)

asyncio.run(actor())
"""


@pytest.mark.parametrize(
    ("how", "why"),
    [
        ("fails", "its main task was over: LookupError('what\\nwent wrong')"),
        ("has a reason", "its node is gone"),
        ("is killed", SAID_NOTHING),
    ],
)
def test_why_the_last_process_ended(tmp_path: Path, how: str, why: str) -> None:
    file = tmp_path / "starts"
    with subprocess.Popen(
        [sys.executable, "-c", ACTOR, str(file), how], stderr=subprocess.DEVNULL
    ) as process:
        process.wait(30)
    assert begin_life(file) == [Life(process.pid, why)]
    assert begin_life(file) == [Life(process.pid, why), Life(os.getpid(), SAID_NOTHING)]


def test_last_words_are_one_line_and_belong_to_the_last_process_of_their_number(tmp_path: Path) -> None:
    file = tmp_path / "starts"
    begin_life(file)
    begin_life(file)
    say_last("first\nsecond")
    say_last("too late")
    ours = os.getpid()
    assert begin_life(file) == [Life(ours, SAID_NOTHING), Life(ours, "first second")]
    file.unlink()
    tmp_path.rmdir()
    say_last("nobody keeps it")

"""The processes of one actor, and what each leaves for the next one: why it ends."""

import contextlib
import os
from pathlib import Path
from typing import NamedTuple

SAID_NOTHING = "it was killed: it said nothing"

_kept_in: list[Path] = []


class Life(NamedTuple):
    """A process that was there before this one."""

    pid: int
    end: str
    """Why it ended, as far as it has said so."""


def begin_life(file: Path) -> list[Life]:
    """Note in the actor's file that this process begins; those before it, the oldest first.

    Raises `OSError`.
    """
    former: list[Life] = []
    with file.open("a+") as noted:
        noted.seek(0)
        for line in noted:
            pid, _, why = line.rstrip("\n").partition(" ")
            silent = Life(int(pid), SAID_NOTHING)
            if why and silent in former:
                former.remove(silent)
            former.append(Life(int(pid), why) if why else silent)
        noted.write(f"{os.getpid()}\n")
    _kept_in[:] = [file]
    return former


def say_last(why: str) -> None:
    """Leave it for the next process, if there may be one; the first reason counts. Fails at nothing: this
    process is about to end."""
    while _kept_in:
        with contextlib.suppress(OSError), _kept_in.pop().open("a") as noted:
            noted.write(f"{os.getpid()} {' '.join(why.split())}\n")

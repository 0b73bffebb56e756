"""Ctrl-C while a command is loading its libraries."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

import pytest

from doorstep.development.ports import free_port
from tests.support.servers import ValkeyServer
from tests.support.waiting import PATIENCE_S

_DOORSTEP = str(Path(sys.executable).with_name("doorstep"))
_INTERRUPTED = """
import os, signal, sys
from doorstep.actors.commands.app import main

library = sys.argv.pop(1)

class Library:
    def find_spec(self, name, path=None, target=None):
        if name == library:
            try:
                os.kill(os.getpid(), signal.SIGINT)
            except BaseException:
                print("swallowed")

sys.meta_path.insert(0, Library())
main()
"""
"""The library of the first argument swallows a Ctrl-C that comes while it is loaded."""


@pytest.fixture
def env(valkey: ValkeyServer) -> Mapping[str, str]:
    """All that a command needs to begin."""
    return {
        **os.environ,
        "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:1",
        "DOORSTEP_REDIS__URL": valkey.url,
        "DOORSTEP_RAY__ADDRESS": "127.0.0.1:1",
        "DOORSTEP_AUTH__HS256_SECRET": "a secret of the tests, long enough for HS256",
        "DOORSTEP_GATEWAY__PORT": str(free_port()),
        "DOORSTEP_ADMIN__PORT": str(free_port()),
    }


@pytest.mark.parametrize(
    ("command", "library"),
    [
        ("status", "typer"),
        ("serve", "pydantic_core"),
        ("serve", "ray"),
        ("up", "ray"),
        ("down", "ray"),
        ("demo", "ray"),
        ("bench run", "rich.console"),
        ("bench run", "doorstep.benchmarks.program"),
        ("bench compare a b", "doorstep.benchmarks.results"),
        ("bench sizes", "doorstep.benchmarks.sizes"),
    ],
)
def test_no_library_swallows_it(env: Mapping[str, str], command: str, library: str) -> None:
    program = [sys.executable, "-c", _INTERRUPTED, library, *command.split()]
    run = subprocess.run(program, env=env, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (run.returncode, run.stdout + run.stderr) == (130, b"")


def test_it_is_quiet(env: Mapping[str, str]) -> None:
    """`_ssl` is in the process's map of its memory long before `serve` begins."""
    serving = subprocess.Popen(
        [_DOORSTEP, "serve"], env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    try:
        loaded = Path(f"/proc/{serving.pid}/maps")
        while "_ssl" not in loaded.read_text():
            assert serving.poll() is None, serving.communicate()
            time.sleep(0.005)
        serving.send_signal(signal.SIGINT)
        assert (serving.communicate(timeout=PATIENCE_S)[0], serving.returncode) == (b"", 130)
    finally:
        serving.kill()
        serving.communicate()

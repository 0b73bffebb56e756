"""Servers as processes: how they start and end, what they say, and that none outlives its program."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from doorstep.development.ports import is_open
from doorstep.development.processes import ServerError, ServerProcess, temporary_directory
from doorstep.development.valkey import ValkeyProcess


def test_the_error_has_what_it_said(tmp_path: Path) -> None:
    command = (sys.executable, "-c", "print('no such port'); raise SystemExit(3)")
    with (
        ServerProcess(command, log=tmp_path / "sample.log") as server,
        pytest.raises(ServerError, match=r"sample ended with status 3\n  it said: no such port"),
    ):
        server.wait_until(lambda: False, timeout_s=10)


def test_a_command_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="sample did not start"):
        ServerProcess(["/nowhere/at-all"], log=tmp_path / "sample.log").start()


@pytest.mark.valkey
def test_a_valkey_that_does_not_start_says_why(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"valkey ended with status 1(.|\n)*no-such-directive"):
        ValkeyProcess(tmp_path, {"no-such-directive": "yes"}).start()


def test_a_temporary_directory_is_private_and_goes() -> None:
    with temporary_directory("doorstep-test-") as directory:
        (directory / "file").touch()
        assert directory.stat().st_mode & 0o777 == 0o700
    assert not directory.exists()


def test_servers_and_directories_go_with_a_program_that_is_killed() -> None:
    program = (
        "import time\n"
        "from doorstep.development.processes import temporary_directory\n"
        "from doorstep.development.valkey import ValkeyProcess\n"
        "with temporary_directory('doorstep-test-') as directory:\n"
        "    server = ValkeyProcess(directory)\n"
        "    server.start()\n"
        "    print(server.port, directory, flush=True)\n"
        "    time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as killed:
        assert killed.stdout is not None
        port, directory = killed.stdout.readline().split()
        assert is_open(int(port))
        killed.kill()
    deadline = time.monotonic() + 20
    while is_open(int(port)) or Path(directory).exists():
        assert time.monotonic() < deadline, "they outlived the program"
        time.sleep(0.05)

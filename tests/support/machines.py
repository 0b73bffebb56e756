"""Machines of their own on this one, for Ray: network, mount, PID and IPC namespaces, on a bridge.

Each has its own `/mnt` for the files of Ray and Doorstep, so that nobody reaches another machine by one.
Network interfaces are named after the process that made them: `dstest<pid>`, and `.0` and so on behind it.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psutil

from doorstep.development.processes import ServerProcess
from tests.support.components import missing
from tests.support.service import is_called
from tests.support.waiting import PATIENCE_S

_TOOLS = ("ip", "unshare", "nsenter")
_INTERFACES = Path("/sys/class/net")
_LIFE = """
set -e
mount --make-rprivate /
mount -t proc proc /proc
mount -t tmpfs machine /mnt
mount -t tmpfs machine /dev/shm
ip link set lo up
echo ready
exec sleep infinity
"""
TEMPORARY = {"RAY_TMPDIR": "/mnt"}
"""What keeps files of Ray and Doorstep in a machine."""


class Machine:
    """One machine. Nothing of it is left when it is switched off."""

    def __init__(self, address: str, directory: Path, bridge: str, interface: str) -> None:
        """`directory`, of this machine, gets its logs; `interface` is our end of its cable."""
        self.address = address
        self._bridge = bridge
        self._interface = interface
        self._directory = directory
        life = ["unshare", "--net", "--mount", "--pid", "--ipc", "--fork", "--kill-child", "sh", "-c", _LIFE]
        self._life = ServerProcess(life, log=directory / f"{address}.log")

    def switch_on(self) -> None:
        """Start it, and connect it to the bridge. Of an earlier life it has the hardware address only."""
        self._life.log.unlink(missing_ok=True)
        self._life.start()
        self._life.wait_until(lambda: self._life.output() == "ready", timeout_s=PATIENCE_S)
        peer = ("peer", "name", "eth0", "netns", str(self._init.pid))
        _ip("link", "add", self._interface, "type", "veth", *peer)
        _ip("link", "set", self._interface, "master", self._bridge, "up")
        self.run("ip", "address", "add", f"{self.address}/24", "dev", "eth0")
        self.run("ip", "link", "set", "eth0", "address", _hardware_address(self.address), "up")

    def switch_off(self) -> None:
        """Pull the plug of the machine."""
        self._life.kill()
        subprocess.run(["ip", "link", "delete", self._interface], capture_output=True, check=False)

    def cut_off(self) -> None:
        """Pull the plug of its network: nobody is told."""
        _ip("link", "set", self._interface, "down")

    def connect(self) -> None:
        """Plug it in again."""
        _ip("link", "set", self._interface, "up")

    def lose(self, *addresses: str) -> None:
        """Nothing gets from it to these any more."""
        for address in addresses:
            self.run("ip", "route", "add", "blackhole", f"{address}/32")

    def find(self, *addresses: str) -> None:
        """It does again."""
        for address in addresses:
            self.run("ip", "route", "delete", "blackhole", f"{address}/32")

    def run(self, *command: str, env: Mapping[str, str] | None = None) -> str:
        """Run a command on it; what it printed. Raises `AssertionError` where it fails."""
        done = subprocess.run(
            [*self._enter, *command],
            env={**os.environ, **TEMPORARY, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command} on {self.address}: {done.stdout}{done.stderr}"
        return done.stdout

    def process(self, name: str, command: Sequence[str], env: Mapping[str, str]) -> ServerProcess:
        """A command that goes on, not started yet, with its log."""
        log = self._directory / f"{name}.log"
        return ServerProcess([*self._enter, *command], log=log, env={**TEMPORARY, **env})

    def processes(self, name: str) -> list[psutil.Process]:
        """Its processes that are called so (`raylet`, `ray::HolderProcess`, …), the oldest first."""
        space = _space_of(self._init)
        return [each for each in psutil.process_iter() if is_called(each, name) and _space_of(each) == space]

    @property
    def _init(self) -> psutil.Process:
        (init,) = psutil.Process(self._life.pid).children()
        return init

    @property
    def _enter(self) -> tuple[str, ...]:
        return ("nsenter", "--target", str(self._init.pid), "--net", "--mount", "--pid", "--ipc", "--")


@contextmanager
def machines(number: int, directory: Path) -> Iterator[tuple[str, list[Machine]]]:
    """The address of this machine, and that many others; skips the test where there can be none.

    Leaves no interface behind, and removes those of processes that were killed.
    """
    lacking = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if lacking or os.geteuid() != 0:
        missing("network namespaces", "run the tests on Linux as root, with iproute2 and util-linux")
    net = f"10.77.{os.getpid() % 250}"
    bridge = f"dstest{os.getpid()}"
    _remove_interfaces(lambda pid: not psutil.pid_exists(pid))
    with ExitStack() as stack:
        stack.callback(_remove_interfaces, lambda pid: pid == os.getpid())
        # A bridge has the lowest address of its ports: it changed as they came and went, and no packet to it
        # arrived for ten seconds.
        _ip("link", "add", bridge, "address", _hardware_address(f"{net}.1"), "type", "bridge")
        for last in (1, 200):
            _ip("address", "add", f"{net}.{last}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        made = [
            Machine(f"{net}.{which + 2}", directory, bridge, f"{bridge}.{which}") for which in range(number)
        ]
        for machine in made:
            stack.callback(machine.switch_off)
            machine.switch_on()
        yield f"{net}.1", made


def _remove_interfaces(made_by: Callable[[int], bool]) -> None:
    """Those whose makers' process ids are such. The kernel removes some meanwhile, after their machines."""
    for name in sorted(each.name for each in _INTERFACES.iterdir()):
        made = re.fullmatch(r"dstest(\d+)(\.\d+)?", name)
        if made and made_by(int(made[1])):
            subprocess.run(["ip", "link", "delete", name], capture_output=True, check=False)


def _hardware_address(address: str) -> str:
    """One that nobody else has here, and that stays."""
    return ":".join(["02", "00", *(f"{int(part):02x}" for part in address.split("."))])


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


def _space_of(process: psutil.Process) -> Path | None:
    try:
        return Path(f"/proc/{process.pid}/ns/pid").readlink()
    except OSError:
        return None

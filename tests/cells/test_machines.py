"""The machines of these tests leave nothing on this one."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.machines import machines

_KILLED = """
import os, pathlib
from tests.support.machines import machines
with machines(1, pathlib.Path({directory!r})):
    print(os.getpid(), flush=True)
    os._exit(9)
"""


def interfaces_of(pid: int) -> list[str]:
    names = [each.name for each in Path("/sys/class/net").iterdir()]
    return [name for name in names if name.partition(".")[0] == f"dstest{pid}"]


def test_no_interface_is_left_by_us_or_by_who_was_killed(tmp_path: Path) -> None:
    with machines(1, tmp_path):
        assert len(interfaces_of(os.getpid())) == 2
        script = _KILLED.format(directory=str(tmp_path))
        command = [sys.executable, "-c", script]
        killed = subprocess.run(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2], check=False)
        assert killed.returncode == 9
        pid = int(killed.stdout)
        assert interfaces_of(pid)
    assert interfaces_of(os.getpid()) == []
    with machines(0, tmp_path):
        assert interfaces_of(pid) == []


def test_hardware_addresses_stay_whoever_comes_and_goes(tmp_path: Path) -> None:
    """Or nobody reaches an address before he has asked for it again."""
    with machines(3, tmp_path) as (_, made):
        (bridge,) = (name for name in interfaces_of(os.getpid()) if "." not in name)

        def addresses() -> list[str]:
            theirs = [machine.run("ip", "-brief", "link", "show", "eth0").split()[2] for machine in made]
            return [Path(f"/sys/class/net/{bridge}/address").read_text(), *theirs]

        before = addresses()
        assert len({*before}) == 4
        for _ in range(4):
            for machine in made:
                machine.switch_off()
                machine.switch_on()
                assert addresses() == before

"""What a connection costs, measured on three processes; the figures are printed when the run ends."""

import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from doorstep.development.processes import ServerProcess

CONNECTIONS = 5000


@pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
@pytest.mark.slow
@pytest.mark.alone
def test_a_connection_is_small_and_cheap(
    private_directory: Path, record_figure: Callable[[str, str], None]
) -> None:
    """The limits are far above what is usual, since other work on the machine disturbs the figures."""
    command = [sys.executable, "-m", "tests.gateway.footprint", str(private_directory), str(CONNECTIONS)]
    untraced = {"COVERAGE_PROCESS_START": "", "COVERAGE_PROCESS_CONFIG": ""}
    process = ServerProcess(command, log=private_directory / "log", env=untraced)
    process.start()
    try:
        process.wait_until(lambda: '"gateway"' in process.output(), what="footprint", timeout_s=90)
        cost = json.loads(process.output(1))
    finally:
        process.kill()
    record_figure("memory of an idle connection (holder)", f"{cost['holder']['bytes']:.0f} bytes")
    record_figure("CPU of a connect, gateway", f"{cost['gateway']['cpu_us']:.0f} us")
    record_figure("CPU of a connect, holder", f"{cost['holder']['cpu_us']:.0f} us")
    assert 500 < cost["holder"]["bytes"] < 6000
    assert cost["gateway"]["cpu_us"] < 800
    assert cost["gateway"]["bytes"] < 1000

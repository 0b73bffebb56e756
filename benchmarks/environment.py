"""Where and with what it was measured."""

import os
import platform
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from doorstep.benchmarks.results import Environment

_LIBRARIES = ("ray", "aiokafka", "redis", "hiredis", "websockets", "uvloop", "orjson", "confluent-kafka")
_FRAME_BYTES = 450
_WRITES = 5_000


def read_environment(versions: Mapping[str, str]) -> Environment:
    """This machine now; `versions` are those of the servers."""
    return Environment(
        cores=os.cpu_count() or 0,
        cpu=_cpu(),
        memory_gb=round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3, 1),
        kernel=f"{platform.system()} {platform.release()}",
        python=sys.version.split()[0],
        commit=_commit(),
        versions={**versions, **_library_versions()},
        socket_write_us=socket_write_us(),
    )


def socket_write_us() -> float:
    """CPU of writing one frame to a TCP socket whose reader waits for it, in microseconds, with what it takes
    to wake the reader: the floor of any delivery that is not one of several in a write."""
    frame = bytes(_FRAME_BYTES)
    spent_ns = 0
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as writer,
        listener.accept()[0] as reader,
        subprocess.Popen(["cat"], stdin=reader.fileno(), stdout=reader.fileno()),  # noqa: S607 - an echo
    ):
        writer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(_WRITES):
            begun = time.thread_time_ns()
            writer.send(frame)
            spent_ns += time.thread_time_ns() - begun
            writer.recv(_FRAME_BYTES, socket.MSG_WAITALL)
        writer.shutdown(socket.SHUT_WR)  # ends the echo
    return spent_ns / _WRITES / 1000


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _commit() -> str:
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def _library_versions() -> Mapping[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

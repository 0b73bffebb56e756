"""What a service keeps to itself: its secrets, its Ray, its files."""

import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from tests.e2e.conftest import Launch
from tests.support.service import SECRET, Service

LOOPBACK = {"127.0.0.1", "::1", "::ffff:127.0.0.1"}


@pytest.fixture(scope="module")
def service(launch: Launch) -> Iterator[Service]:
    """One for all tests here; what it leaves behind is looked at when it has ended."""
    with launch(DOORSTEP_GATEWAY__HOST="127.0.0.1") as service:
        before = directory_of(service)
        yield service
    assert not before.exists()


def directory_of(service: Service) -> Path:
    """The private directory of its Ray, and of the sockets and settings of its actors."""
    told = next(part for part in service.member("gcs_server").cmdline() if part.startswith("--log_dir="))
    return Path(told.removeprefix("--log_dir=").partition("/ray/")[0])


def memory_of(process: psutil.Process) -> Iterator[bytes]:
    """What is in the writable memory of a process."""
    with Path(f"/proc/{process.pid}/mem").open("rb", 0) as memory:
        for line in Path(f"/proc/{process.pid}/maps").read_text().splitlines():
            place, rights, *_ = line.split()
            if rights.startswith("rw") and "/dev/shm" not in line:
                start, end = (int(address, 16) for address in place.split("-"))
                memory.seek(start)
                with suppress(OSError):  # given back since
                    yield memory.read(end - start)


def test_no_secret_is_in_an_environment_of_ray(service: Service) -> None:
    serve, *others = service.family()
    with_secret = [
        process.name()
        for process in others
        if process.is_running() and SECRET.encode() in Path(f"/proc/{process.pid}/environ").read_bytes()
    ]
    assert with_secret == []
    assert SECRET.encode() in Path(f"/proc/{serve.pid}/environ").read_bytes()  # so it is found where it is


@pytest.mark.parametrize("server", ["gcs_server", "raylet"])
def test_no_secret_and_no_password_is_in_the_memory_of_ray(service: Service, server: str) -> None:
    process = service.member(server)
    assert any(b"holder-0" in block for block in memory_of(process))
    assert not any(SECRET.encode() in block for block in memory_of(process))


def test_ray_listens_on_the_loopback_only(service: Service) -> None:
    listening = {
        connection.laddr.ip
        for process in service.family()
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert listening
    assert listening <= LOOPBACK


def test_nobody_else_reads_its_files(service: Service) -> None:
    directory = directory_of(service)
    assert mode(directory) == 0o700
    assert mode(directory / "settings.json") == 0o600
    assert mode(directory / "ray" / "token") == 0o600
    assert any((directory / "ray").glob("session_2*"))  # which Ray opens to everybody who gets there


def test_no_dashboard_was_started(service: Service) -> None:
    logs = directory_of(service) / "ray" / "session_latest" / "logs"
    assert list(logs.glob("gcs_server.*"))
    assert list(logs.glob("dashboard.*")) == []


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)

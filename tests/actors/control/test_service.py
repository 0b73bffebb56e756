"""What `serve` finds out before any actor is there."""

import asyncio
import time
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from doorstep.actors.control.given_ray import GivenRay
from doorstep.actors.control.service import Service, StartError
from doorstep.actors.store.spec_record import wanted_by
from doorstep.config.settings import load_settings
from doorstep.development.ports import free_port


@pytest.mark.ray
async def test_a_run_directory_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    """Root may write everywhere, but not below a file."""
    (tmp_path / "file").touch()
    settings = load_settings(run_dir=tmp_path / "file" / "run", ray={"address": "127.0.0.1:1"})
    with pytest.raises(StartError, match=f"run_dir: can't write to {settings.run_dir}: Not a directory"):
        await Service(settings)._prepare_run_dir(wanted_by(settings, "here"))


@pytest.mark.ray
async def test_a_ray_that_nobody_finds_is_told_at_once_and_given_up_in_time() -> None:
    address = f"127.0.0.1:{free_port()}"
    began = time.monotonic()
    with capture_logs() as lines, pytest.raises(StartError, match=f"no Ray at {address}: .*RAY__ADDRESS"):
        await Service(load_settings(ray={"address": address}), ray_within_s=0.5).start()
    assert 0.5 <= time.monotonic() - began < 20
    assert [each["event"] for each in lines] == ["ray_away"]


@pytest.mark.ray
@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
async def test_who_listens_and_is_no_ray_is_told_and_given_up_in_time(answer: bytes) -> None:
    async with await asyncio.start_server(lambda _, writer: writer.write(answer), "0.0.0.0", 0) as server:
        address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"  # for which Ray takes another of ours
        began = time.monotonic()
        with pytest.raises(StartError, match=f"no Ray at {address}: .* does not answer as Ray does"):
            await Service(load_settings(ray={"address": address}), ray_within_s=1).start()
        assert time.monotonic() - began < 20


@pytest.mark.ray
@pytest.mark.parametrize("address", ["auto", "ray://127.0.0.1:1"])
async def test_an_address_of_another_form_is_left_to_ray(address: str) -> None:
    assert await GivenRay(address, 0).start() == address

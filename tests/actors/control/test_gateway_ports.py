"""The ports that one gateway leaves to the next, and those that somebody else has."""

import asyncio
import socket
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from doorstep.actors.control.gateway_actor import Gateway
from doorstep.actors.control.spec_watch import write_spec
from doorstep.actors.placement.cell import HERE
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.store.spec_record import wanted_by
from doorstep.config.settings import Settings, load_settings
from doorstep.gateway.succession import Bequest
from tests.support.servers import ValkeyServer
from tests.support.service import SECRET
from tests.support.waiting import PATIENCE_S, until


def of_node(valkey: ValkeyServer, run: RunDirectory, port: int = 0) -> Settings:
    """The settings of a gateway whose node knows its cell."""
    settings = load_settings(
        None,
        redis={"url": valkey.url},
        auth={"hs256_secret": SECRET},
        canary={"interval_s": 0},
        gateway={"port": port},
        admin={"port": 0},
    )
    write_spec(run, wanted_by(settings, "here"))
    return settings


async def test_who_is_stopped_while_it_asks_its_holders_keeps_no_port(
    valkey: ValkeyServer, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients would connect to it, and nobody would accept them."""
    asks = asyncio.Event()

    async def ask_for_ever(_: Gateway) -> bool:
        asks.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(Gateway, "_holders_serve", ask_for_ever)
    run = RunDirectory(run_dir)
    settings = of_node(valkey, run)
    with socket.create_server(("127.0.0.1", 0)) as port:
        address = port.getsockname()
        bequest = Bequest(run.ports_socket, run.edition, lambda: {"public port": port}, lambda: None)
        bequest.start()
        gateway = Gateway(settings, HERE, run)
        await asyncio.wait_for(asks.wait(), PATIENCE_S)
        await gateway.stop()
        bequest.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_a_port_of_somebody_else_is_named_with_what_to_do_until_it_is_free(
    valkey: ValkeyServer, run_dir: Path
) -> None:
    run = RunDirectory(run_dir)
    with capture_logs() as logs:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            number = taken.getsockname()[1]
            gateway = Gateway(of_node(valkey, run, number), HERE, run)
            await until(lambda: "cannot_listen" in {line["event"] for line in logs})
        await until(lambda: "listening" in {line["event"] for line in logs})
        await gateway.stop()
    complaint = next(line for line in logs if line["event"] == "cannot_listen")
    assert str(number) in complaint["error"]
    assert "choose another port" in complaint["hint"]

"""The ports that one gateway leaves to the next."""

import asyncio
import socket
from pathlib import Path

import pytest

from doorstep.actors.control.gateway_actor import Gateway
from doorstep.actors.control.spec_watch import write_spec
from doorstep.actors.placement.cell import HERE
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.store.spec_record import wanted_by
from doorstep.config.settings import load_settings
from doorstep.gateway.succession import Bequest
from tests.support.servers import ValkeyServer
from tests.support.service import SECRET


async def test_who_is_stopped_while_it_asks_its_holders_keeps_no_port(
    valkey: ValkeyServer, run_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Clients would connect to it, and nobody would accept them."""
    asks = asyncio.Event()

    async def ask_for_ever(_: Gateway) -> bool:
        asks.set()
        return await asyncio.Event().wait()

    monkeypatch.setattr(Gateway, "_holders_serve", ask_for_ever)
    settings = load_settings(
        None, redis={"url": valkey.url}, auth={"hs256_secret": SECRET}, canary={"interval_s": 0}
    )
    run = RunDirectory(run_dir)
    write_spec(run, wanted_by(settings, "here"))
    with socket.create_server(("127.0.0.1", 0)) as port:
        address = port.getsockname()
        bequest = Bequest(run.ports_socket, run.edition, lambda: {"public port": port}, lambda: None)
        bequest.start()
        gateway = Gateway(settings, HERE, run)
        await asyncio.wait_for(asks.wait(), 20)
        await gateway.stop()
        bequest.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)

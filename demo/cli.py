"""The command `doorstep demo`."""

import asyncio
import logging
from pathlib import Path
from typing import Annotated

import typer
from aiokafka.errors import KafkaError

from doorstep.actors.control.cluster import StartError
from doorstep.actors.runtime.signals import end_on_signals
from doorstep.config.routes import RoutesError
from doorstep.config.settings import load_settings
from doorstep.config.settings_errors import SettingsError
from doorstep.demo import check as checking
from doorstep.demo.app import Demo, DemoError, running_demo
from doorstep.demo.embedded import EmbeddedServerError
from doorstep.demo.evidence import LATENCY_LIMIT_MS
from doorstep.gateway.auth import AuthSetupError

_EXPECTED = (
    *(SettingsError, RoutesError, AuthSetupError, OSError),
    *(DemoError, EmbeddedServerError, StartError, KafkaError, checking.CheckError),
)
_FAILED, _BAD_SETUP, _INTERRUPTED = 1, 2, 130
_SHOWN = 20

_Port = Annotated[int, typer.Option(help="Port of the page; a free one if it is taken.")]
_Host = Annotated[str, typer.Option(help="Address to listen on, for the page and for Doorstep.")]
_Holders = Annotated[
    int, typer.Option(envvar="DOORSTEP_HOLDERS", help="Holder actors, whatever the file of --config says.")
]
_Check = Annotated[
    bool, typer.Option("--check", help="Upload for three teachers, judge what comes, and end.")
]
_Config = Annotated[Path | None, typer.Option(help="A TOML file with settings.")]


def demo(
    port: _Port = 8080,
    host: _Host = "127.0.0.1",
    holders: _Holders = 2,
    check: _Check = False,
    config: _Config = None,
) -> None:
    """Bring up everything on this machine, with a page to try it on. Ctrl-C ends it.

    Kafka and Valkey are embedded unless DOORSTEP_KAFKA__BOOTSTRAP_SERVERS and DOORSTEP_REDIS__URL are set.
    With --check the exit status is 0 if every file became its essay for its teacher, once, in order and
    within half a second, else 1; 2 where the demo could not start; 130 where it was interrupted.
    """
    raise typer.Exit(asyncio.run(_run(config, holders, host, port, check=check)))


async def _run(config: Path | None, holders: int, host: str, port: int, *, check: bool) -> int:
    end_on_signals()
    logging.getLogger("ray").setLevel(logging.ERROR)  # it has much to say about itself
    try:
        settings = load_settings(config, holders=holders)
        async with running_demo(settings, host, port, typer.echo) as running:
            return await (_check(running) if check else _show(running))
    except _EXPECTED as error:
        typer.echo(f"doorstep demo: {error}", err=True)
        return _BAD_SETUP
    except asyncio.CancelledError:
        typer.echo("Stopped.")
        return _INTERRUPTED if check else 0


async def _show(running: Demo) -> int:
    typer.echo(f"\nOpen {running.url} and drop some essays. Ctrl-C ends the demo.")
    try:
        await asyncio.Event().wait()
    finally:
        typer.echo("\nStopping …")
    return 0


async def _check(running: Demo) -> int:
    problems = await checking.check(running, typer.echo)
    for problem in problems[:_SHOWN]:
        typer.echo(f"FAIL  {problem}", err=True)
    if problems:
        typer.echo(f"FAIL  {len(problems)} faults in all", err=True)
        return _FAILED
    typer.echo(
        "OK    nothing missing, doubled, out of order, at somebody else's, or later than "
        f"{LATENCY_LIMIT_MS:.0f} ms"
    )
    return 0

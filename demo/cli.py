"""The command `doorstep demo`."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from doorstep.actors.runtime.loading import loading

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
    with loading():  # now, as every `doorstep` command loads this file
        from doorstep.demo.program import run  # noqa: PLC0415

    raise typer.Exit(asyncio.run(run(config, holders, host, port, check=check)))

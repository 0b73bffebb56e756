"""The `doorstep` command: its verbs, one file each, and those of other packages."""

from importlib.metadata import entry_points
from typing import Annotated

import typer

from doorstep.actors.commands.check import check
from doorstep.actors.commands.contract import contract
from doorstep.actors.commands.dead import dead
from doorstep.actors.commands.down import down
from doorstep.actors.commands.drain import drain
from doorstep.actors.commands.scale import scale
from doorstep.actors.commands.serve import serve
from doorstep.actors.commands.status import status
from doorstep.actors.commands.token import token
from doorstep.actors.commands.up import up
from doorstep.config.version import VERSION

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback(invoke_without_command=True)
def doorstep(
    version: Annotated[bool, typer.Option("--version", help="Print the version, and end.")] = False,
) -> None:
    """Doorstep brings Kafka events to the browsers of the users they concern."""
    if version:
        typer.echo(VERSION)
        raise typer.Exit


for verb in (serve, up, scale, drain, down, check, status, token, contract):
    app.command()(verb)
app.add_typer(dead, name="dead")


def _add_commands_of_other_packages() -> None:
    for entry in entry_points(group="doorstep.commands"):
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)


_add_commands_of_other_packages()

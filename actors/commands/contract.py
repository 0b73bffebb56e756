"""`doorstep contract`: what browsers may get and send, for compilers, tools and people."""

from collections.abc import Callable, Mapping
from typing import Annotated, Literal

import typer

from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.config.routes import RoutesError, load_routes
from doorstep.gateway.asyncapi import asyncapi
from doorstep.gateway.event_reference import event_reference
from doorstep.gateway.public_contract import PublicContract, public_contract
from doorstep.gateway.typescript import typescript

ContractForm = Literal["typescript", "asyncapi", "markdown"]

CONTRACT_WRITERS: Mapping[ContractForm, Callable[[PublicContract], str | bytes]] = {
    "typescript": typescript,
    "asyncapi": asyncapi,
    "markdown": event_reference,
}


def contract(
    form: Annotated[ContractForm, typer.Argument(help="What to print.")],
    config: ConfigFile = None,
) -> None:
    """Print what browsers may get and send, with the routes in force: for compilers, tools or people."""
    settings = settings_or_exit(config)
    try:
        routes = load_routes(settings.routes)
    except RoutesError as error:
        fail(str(error))
    typer.echo(CONTRACT_WRITERS[form](public_contract(routes, settings)), nl=False)

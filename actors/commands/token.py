"""`doorstep token`: a bearer token for development."""

from typing import Annotated

import typer

from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.config.identifiers import identifier_fault
from doorstep.gateway.auth import AuthSetupError
from doorstep.gateway.signer import Signer


def token(
    user: Annotated[str, typer.Argument(help="The user id, the token's `sub`.")],
    config: ConfigFile = None,
    ttl: Annotated[int, typer.Option(min=1, help="Seconds until it expires.")] = 3600,
) -> None:
    """Print a token for development, signed with the shared secret, the first of several."""
    if (fault := identifier_fault(user)) is not None:
        fail(f"the user id {fault}: no gateway would accept the token")
    try:
        signer = Signer(settings_or_exit(config).auth)
    except AuthSetupError as error:
        fail(str(error))
    typer.echo(signer.sign(user, ttl))

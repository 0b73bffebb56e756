"""`doorstep token`: a bearer token for development."""

import time
from typing import Annotated, Any

import jwt
import typer

from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.config.settings import Settings
from doorstep.gateway.auth import AuthSetupError, secrets_of


def token(
    user: Annotated[str, typer.Argument(help="The user id, the token's `sub`.")],
    config: ConfigFile = None,
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.")] = 3600,
) -> None:
    """Print a token for development, signed with the shared secret, the first of several."""
    typer.echo(mint(settings_or_exit(config), user, ttl))


def mint(settings: Settings, user_id: str, ttl_s: float) -> str:
    """An HS256 token of `user_id` that expires in `ttl_s` seconds, with the configured `iss` and `aud`."""
    try:
        secrets = secrets_of(settings.auth)
    except AuthSetupError as error:
        fail(str(error))
    if not secrets:
        fail("DOORSTEP_AUTH__HS256_SECRET is not set: there is nothing to sign a token with")
    claims: dict[str, Any] = {"sub": user_id, "exp": time.time() + ttl_s}
    if settings.auth.issuer:
        claims["iss"] = settings.auth.issuer
    if settings.auth.audience:
        claims["aud"] = settings.auth.audience
    return jwt.encode(claims, secrets.signing, algorithm="HS256")

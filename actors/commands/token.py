"""`doorstep token`: a bearer token for development."""

import time
from typing import Annotated, Any

import jwt
import typer

from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.config.settings import Settings


def token(
    user: Annotated[str, typer.Argument(help="The user id, the token's `sub`.")],
    config: ConfigFile = None,
    ttl: Annotated[int, typer.Option(help="Seconds until it expires.")] = 3600,
) -> None:
    """Print a token for development, signed with DOORSTEP_AUTH__HS256_SECRET."""
    typer.echo(mint(settings_or_exit(config), user, ttl))


def mint(settings: Settings, user_id: str, ttl_s: float) -> str:
    """An HS256 token of `user_id` that expires in `ttl_s` seconds, with the configured `iss` and `aud`."""
    if settings.auth.hs256_secret is None:
        fail("DOORSTEP_AUTH__HS256_SECRET is not set: there is nothing to sign a token with")
    claims: dict[str, Any] = {"sub": user_id, "exp": time.time() + ttl_s}
    if settings.auth.issuer:
        claims["iss"] = settings.auth.issuer
    if settings.auth.audience:
        claims["aud"] = settings.auth.audience
    return jwt.encode(claims, settings.auth.hs256_secret.get_secret_value(), algorithm="HS256")

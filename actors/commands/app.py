"""The `doorstep` command."""

import asyncio
import os
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Annotated, Any, Literal, NoReturn

import jwt
import orjson
import typer

from doorstep.actors.control.cluster import Cluster, StartError
from doorstep.actors.kafka.options import connection_options
from doorstep.actors.runtime.signals import end_on_signals
from doorstep.actors.store.redis.address import parse_target
from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.config.routes import RoutesError, load_routes
from doorstep.config.settings import Settings, load_settings, unknown_environment
from doorstep.config.settings_errors import SettingsError
from doorstep.gateway.asyncapi import asyncapi
from doorstep.gateway.auth import Authenticator, AuthSetupError
from doorstep.gateway.event_reference import event_reference
from doorstep.gateway.public_contract import PublicContract, public_contract
from doorstep.gateway.typescript import typescript

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

ContractForm = Literal["typescript", "asyncapi", "markdown"]

CONTRACT_WRITERS: Mapping[ContractForm, Callable[[PublicContract], str | bytes]] = {
    "typescript": typescript,
    "asyncapi": asyncapi,
    "markdown": event_reference,
}

ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.")]


def settings_or_exit(file: Path | None, **flags: Any) -> Settings:
    """The settings, or an end with exit code 2 and every wrong one named."""
    try:
        return load_settings(file, **{name: value for name, value in flags.items() if value is not None})
    except (SettingsError, OSError) as error:
        fail(f"configuration: {error}")


def fail(message: str) -> NoReturn:
    """End with exit code 2 and a message to standard error."""
    typer.secho(message, fg=typer.colors.RED, err=True)
    raise typer.Exit(2)


@app.command()
def serve(
    config: ConfigFile = None,
    host: Annotated[str | None, typer.Option(help="Address of the public port.")] = None,
    port: Annotated[int | None, typer.Option(help="Number of the public port.")] = None,
    holders: Annotated[int | None, typer.Option(help="Holder actors.")] = None,
    consumers: Annotated[int | None, typer.Option(help="Consumer actors.")] = None,
) -> None:
    """Run Doorstep against a Kafka and a Redis or Valkey, until SIGTERM or Ctrl-C."""
    gateway = {name: value for name, value in (("host", host), ("port", port)) if value is not None}
    settings = settings_or_exit(config, gateway=gateway or None, holders=holders, consumers=consumers)
    problems = problems_of(settings)
    if problems:
        fail("\n".join(problems))
    raise typer.Exit(asyncio.run(_serve(settings)))


async def _serve(settings: Settings) -> int:
    end_on_signals()
    typer.echo("starting Ray and the actors ...", err=True)
    try:
        async with Cluster(settings) as cluster:
            typer.echo(f"Doorstep is at {cluster.url}", err=True)
            await asyncio.Event().wait()
    except StartError as error:
        typer.secho(str(error), fg=typer.colors.RED, err=True)
        return 1
    except asyncio.CancelledError:
        typer.echo("stopped", err=True)
    return 0


@app.command()
def check(config: ConfigFile = None) -> None:
    """Check the configuration and the routes; print what is in force. Connects to nothing."""
    settings = settings_or_exit(config)
    problems = problems_of(settings)
    problems += [f"{name}: no such setting" for name in unknown_environment(os.environ)]
    if problems:
        fail("\n".join(problems))
    typer.echo(settings.model_dump_json(indent=2))
    for route in load_routes(settings.routes).routes:
        typer.echo(str(route), err=True)


def problems_of(settings: Settings) -> list[str]:
    """What is missing before Doorstep can serve, and what to do about each."""
    problems = []
    if not settings.kafka.bootstrap_servers:
        problems.append("DOORSTEP_KAFKA__BOOTSTRAP_SERVERS is not set: where is Kafka? (host:port,host:port)")
    if not settings.redis.url.get_secret_value():
        problems.append("DOORSTEP_REDIS__URL is not set: where is Redis or Valkey? (redis://host:port)")
    try:
        load_routes(settings.routes)
    except (RoutesError, OSError) as error:
        problems.append(str(error))
    try:
        Authenticator(settings.auth)
    except AuthSetupError as error:
        problems.append(str(error))
    try:
        connection_options(settings.kafka)
    except (ValueError, OSError) as error:
        problems.append(f"kafka.ssl_*, kafka.sasl_*: {error}")
    if settings.redis.url.get_secret_value():
        try:
            parse_target(settings.redis)
        except StoreMisconfigured as error:
            problems.append(str(error))
    return problems


@app.command()
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


@app.command()
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


@app.command()
def status(
    url: Annotated[str, typer.Option(help="The public address of a gateway.")] = "http://127.0.0.1:8000",
) -> None:
    """Print whether a running Doorstep is ready, and what is wrong if not (then the exit code is 1)."""
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=5) as answer:  # noqa: S310 - the operator's own URL
            body = answer.read()
    except urllib.error.HTTPError as refusal:
        body = refusal.read()
    except OSError as error:
        fail(f"{url} does not answer: {error}")
    readiness = orjson.loads(body)
    typer.echo(orjson.dumps(readiness, option=orjson.OPT_INDENT_2).decode())
    raise typer.Exit(0 if readiness["ready"] else 1)


def _add_commands_of_other_packages() -> None:
    for entry in entry_points(group="doorstep.commands"):
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)


_add_commands_of_other_packages()

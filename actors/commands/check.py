"""`doorstep check`: is the configuration all right?"""

import asyncio
import os
from typing import Annotated

import typer

from doorstep.actors.commands.connecting import findings
from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.commands.route_text import lines_of
from doorstep.actors.kafka.options import connection_options
from doorstep.actors.runtime.tracing import fault_of
from doorstep.actors.store.redis.address import parse_target
from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.config.routes import RoutesError, load_routes
from doorstep.config.settings import Settings, no_such_variable, unknown_environment
from doorstep.gateway.auth import Authenticator, AuthSetupError
from doorstep.gateway.signer import Signer


def check(
    config: ConfigFile = None,
    connect: Annotated[
        bool, typer.Option("--connect", help="Try everything that the configuration names, too.")
    ] = False,
) -> None:
    """Check the configuration and the routes; print what is in force.

    With --connect, Kafka, topics, group, Redis, key set and ports are tried, and what is found is printed
    instead, one line each. The exit status is 1 where one of them is wrong, 2 where the configuration is.
    """
    settings = settings_or_exit(config)
    problems = problems_of(settings)
    problems += map(no_such_variable, unknown_environment(os.environ))
    if problems:
        fail("\n".join(problems))
    if connect:
        raise typer.Exit(0 if asyncio.run(_try_all(settings)) else 1)
    typer.echo(settings.model_dump_json(indent=2))
    for route in load_routes(settings.routes).routes:
        typer.echo("\n".join(lines_of(route)), err=True)


async def _try_all(settings: Settings) -> bool:
    """Print each finding as soon as it is known; returns whether nothing is wrong."""
    is_well = True
    async for finding in findings(settings):
        is_well = is_well and finding.fault is None
        typer.secho(str(finding), fg=None if finding.fault is None else typer.colors.RED)
    return is_well


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
        if settings.canary.interval_s:
            Signer(settings.auth)
    except AuthSetupError as error:
        problems.append(f"canary: {error}")
    if (fault := fault_of(settings)) is not None:
        problems.append(fault)
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

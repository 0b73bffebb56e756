"""`doorstep check`: is the configuration all right?"""

import os

import typer

from doorstep.actors.commands.options import ConfigFile, fail, settings_or_exit
from doorstep.actors.kafka.options import connection_options
from doorstep.actors.store.redis.address import parse_target
from doorstep.actors.store.redis.errors import StoreMisconfigured
from doorstep.config.routes import RoutesError, load_routes
from doorstep.config.settings import Settings, unknown_environment
from doorstep.gateway.auth import Authenticator, AuthSetupError


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

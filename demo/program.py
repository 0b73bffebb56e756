"""What `doorstep demo` does, from its options to its exit status."""

import asyncio
import logging
from pathlib import Path

import structlog
import typer
from aiokafka.errors import KafkaError

from doorstep.actors.control.service import StartError
from doorstep.actors.runtime.loading import INTERRUPTED
from doorstep.actors.runtime.signals import end_on_signals
from doorstep.config.routes import RoutesError
from doorstep.config.settings import load_settings
from doorstep.config.settings_errors import SettingsError
from doorstep.demo import check as checking
from doorstep.demo.app import Demo, DemoError, running_demo
from doorstep.demo.evidence import LATENCY_LIMIT_MS
from doorstep.development.processes import ServerError
from doorstep.gateway.auth import AuthSetupError

_EXPECTED = (
    *(SettingsError, RoutesError, AuthSetupError, OSError),
    *(DemoError, ServerError, StartError, KafkaError, checking.CheckError),
)
_FAILED, _BAD_SETUP = 1, 2
_SHOWN = 20


async def run(config: Path | None, holders: int, host: str, port: int, *, check: bool) -> int:
    """Bring the demo up, show or check it, and take it down; returns the exit status."""
    end_on_signals()
    logging.getLogger("ray").setLevel(logging.ERROR)  # it has much to say about itself
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        settings = load_settings(config, holders=holders)
        async with running_demo(settings, host, port, typer.echo) as running:
            return await (_check(running) if check else _show(running))
    except _EXPECTED as error:
        typer.echo(f"doorstep demo: {error}", err=True)
        return _BAD_SETUP
    except asyncio.CancelledError:
        typer.echo("Stopped.")
        return INTERRUPTED if check else 0


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

"""What the commands have in common: where the settings come from, and how a command ends early."""

from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer

from doorstep.config.settings import Settings, load_settings
from doorstep.config.settings_errors import SettingsError

ConfigFile = Annotated[Path | None, typer.Option("--config", help="A TOML file with settings.")]


class ExitStatus(IntEnum):
    """How `doorstep serve` ends; the other commands end with 2 likewise."""

    STOPPED = 0
    NOT_STARTED = 1
    BAD_SETUP = 2
    RAY_LOST = 3


def settings_or_exit(file: Path | None, **flags: Any) -> Settings:
    """The settings, or an end with exit code 2 and every wrong one named."""
    try:
        return load_settings(file, **{name: value for name, value in flags.items() if value is not None})
    except SettingsError as error:
        fail(f"configuration: {error}")


def fail(message: str) -> NoReturn:
    """End with exit code 2 and a message to standard error."""
    typer.secho(message, fg=typer.colors.RED, err=True)
    raise typer.Exit(ExitStatus.BAD_SETUP)

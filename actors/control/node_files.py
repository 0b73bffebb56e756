"""What the actors of a node find in its run directory: made before them, and removed after them."""

import contextlib

from doorstep.actors.control.spec_watch import write_spec
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.spec import Spec
from doorstep.config.settings import Settings
from doorstep.config.settings_file import write_settings
from doorstep.gateway.unix_listener import private_directory


def prepare(run: RunDirectory, settings: Settings, spec: Spec) -> None:
    """Make the directory, and write spec and settings. Raises `OSError`, and `NotPrivateError` if others get
    in."""
    private_directory(run.path)
    write_spec(run, spec)
    write_settings(run.settings_file, settings)


def clear(run: RunDirectory) -> None:
    """Remove what is ours, and the directory if nothing else is in it."""
    for pattern in ("settings*.json*", "spec*.json*", "*.starts", "*.sock*"):
        for file in run.path.glob(pattern):
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run.path.rmdir()


def forget_other_editions(run: RunDirectory) -> None:
    """Remove what actors of other editions had for themselves: secrets are in it."""
    for pattern in ("settings*.json", "spec*.json"):
        for file in run.path.glob(pattern):
            if file not in (run.settings_file, run.spec_file):
                file.unlink(missing_ok=True)

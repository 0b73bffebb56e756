"""What the actors of a node find in its run directory: made before them, and removed after them."""

import contextlib

from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.config.settings import Settings
from doorstep.config.settings_file import write_settings
from doorstep.gateway.handover import private_directory


def prepare(run: RunDirectory, settings: Settings) -> None:
    """Make the directory, and write the settings. Raises `OSError`, `HandoverError` if others get in."""
    private_directory(run.path)
    write_settings(run.settings_file, settings)


def clear(run: RunDirectory) -> None:
    """Remove what is ours, and the directory if nothing else is in it."""
    for pattern in ("settings.json*", "*.starts", "*.sock*"):
        for file in run.path.glob(pattern):
            file.unlink(missing_ok=True)
    with contextlib.suppress(OSError):
        run.path.rmdir()

"""Headless Chromium, as Debian packages it."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.components import missing, used

_COMMANDS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    # A browser of a test talks to the test's own server and to nobody else.
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> Path:
    """The browser: `DOORSTEP_TEST_CHROMIUM`, or the first found on the path. Skips where there is none."""
    named = os.environ.get("DOORSTEP_TEST_CHROMIUM")
    found = named or next(filter(None, map(shutil.which, _COMMANDS)), None)
    if found is None:
        missing("Chromium", "run `make setup-tests`, or: apt-get install -y chromium")
    said = subprocess.run([found, "--version"], check=True, capture_output=True, text=True).stdout
    used["Chromium"] = said.strip().removeprefix("Chromium ")
    return Path(found)


def chromium_command(binary: Path, profile: Path, *arguments: str) -> tuple[str, ...]:
    """Command line of a headless browser with a profile directory of its own."""
    return (str(binary), *_FLAGS, f"--user-data-dir={profile}", *arguments)

"""A second checkout of Doorstep, of another version."""

import shutil
from collections.abc import Mapping
from importlib.metadata import distribution
from pathlib import Path

import doorstep.config

_PACKAGES = ("config", "gateway", "actors")


def other_version(directory: Path, version: str) -> Mapping[str, str]:
    """Make it there; the environment in which a Python imports it, and not ours."""
    root = Path(doorstep.config.__file__).parents[1]
    for package in _PACKAGES:
        shutil.copytree(root / package, directory / "doorstep" / package)
    metadata = directory / f"doorstep-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir()
    lines = (distribution("doorstep").read_text("METADATA") or "").splitlines()
    changed = [f"Version: {version}" if line.startswith("Version: ") else line for line in lines]
    metadata.write_text("\n".join(changed))
    return {"PYTHONPATH": str(directory)}

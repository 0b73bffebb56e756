"""What is wrong with a configuration, in words for the one who wrote it."""

import os
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from doorstep.config.setting_names import settings_in, variable


class SettingsError(ValueError):
    """The configuration is wrong. The message names each wrong setting, where it was set, and why."""


def complaints(
    error: ValidationError,
    root: type[BaseModel],
    flags: Mapping[str, Any],
    in_file: Mapping[str, Any],
    file: Path | None,
) -> Iterator[str]:
    """One line for each wrong setting; never its value, which may be a secret."""
    for wrong in error.errors(include_url=False, include_context=False, include_input=False):
        path = tuple(str(part) for part in wrong["loc"][:2])
        reason = wrong["msg"].removeprefix("Value error, ")
        if not path:  # settings that don't fit together: the message names them
            yield reason
            continue
        if wrong["type"] == "extra_forbidden":
            reason = _no_such(path, root)
        yield f"{'.'.join(path)} ({_place(path, flags, in_file, file)}): {reason}"


def _place(
    path: tuple[str, ...], flags: Mapping[str, Any], in_file: Mapping[str, Any], file: Path | None
) -> str:
    """Which source the wrong value came from, by their precedence."""
    if _holds(flags, path):
        return "set by a flag"
    if variable(*path) not in map(str.upper, os.environ) and _holds(in_file, path):
        return f"set in {file}"
    return variable(*path)


def _holds(values: Any, path: tuple[str, ...]) -> bool:
    for part in path:
        if not isinstance(values, Mapping) or part not in values:
            return False
        values = values[part]
    return True


def _no_such(path: tuple[str, ...], root: type[BaseModel]) -> str:
    *section, name = path
    there = settings_in(root, section[0]) if section else list(root.model_fields)
    close = get_close_matches(name, there, n=1)
    if close:
        return f"there is no such setting; did you mean {'.'.join([*section, close[0]])}?"
    return f"there is no such setting; there are {', '.join(there)}"

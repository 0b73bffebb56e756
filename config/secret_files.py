"""Secrets that are kept in files, as Docker and Kubernetes mount them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from doorstep.config.setting_names import file_of, secrets_in, variable
from doorstep.config.settings_errors import SettingsError


def with_secrets_read(values: Mapping[str, Any], root: type[BaseModel]) -> dict[str, Any]:
    """Replace every `<secret>_file` by the secret it holds, without its last line end.

    Done for each source by itself, so that a secret of a later source wins over a file of an earlier one.
    Raises `SettingsError` for a file that can't be read or is empty, and where secret and file are both set.
    """
    return {
        name: _section(name, given, secrets_in(root, name)) if isinstance(given, dict) else given
        for name, given in values.items()
    }


def _section(section: str, given: Mapping[str, Any], secrets: list[str]) -> dict[str, Any]:
    read = dict(given)
    for secret in secrets:
        path = read.pop(file_of(secret), None)
        if path is not None and secret in read:
            raise SettingsError(
                f"{section}.{secret} and {section}.{file_of(secret)} are both set: remove one"
            )
        if path is not None:
            name = f"{section}.{file_of(secret)} ({variable(section, file_of(secret))})"
            read[secret] = _content(path, name)
    return read


def _content(path: Any, setting: str) -> str:
    try:
        secret = Path(path).read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        raise SettingsError(f"{setting}: can't read {path}: {error.strerror}") from error
    except (UnicodeError, TypeError):
        # Not chained: the decoder's error holds the bytes of the secret.
        raise SettingsError(f"{setting}: {path} is not the path of a UTF-8 text") from None
    if not secret:
        raise SettingsError(f"{setting}: {path} is empty")
    return secret

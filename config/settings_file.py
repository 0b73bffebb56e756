"""The settings in force as one process hands them to others: in a private file, secrets included.

So no secret is in an argument, a message or an environment: whoever may read the file may know them.
"""

import hashlib
import os
from pathlib import Path
from typing import Any

import orjson
from pydantic import SecretStr
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from doorstep.config.settings import Settings

_COST = {"n": 1 << 14, "r": 8, "p": 1}
_SCALED = {"holders", "consumers"}
"""What is in the spec, and changes while a fleet runs."""


class _AsWritten(Settings):
    """Settings from a file of ours: whatever the environment says is in them already, or came later."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_others: Any,
        **_more: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def write_settings(path: Path, settings: Settings) -> None:
    """Write them for `read_settings`, readable by this user only. Raises `OSError`."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    new.touch(mode=0o600)
    new.write_bytes(_text(settings.model_dump()))
    new.replace(path)


def read_settings(path: Path) -> Settings:
    """The settings that were written there. Raises `OSError`."""
    return Settings.model_construct(**dict(_AsWritten(**orjson.loads(path.read_bytes()))))


def digest_of(settings: Settings, version: str) -> str:
    """Twelve digits that tell versions and settings apart, but for the numbers of actors; for everybody to
    see: a guess at a secret costs as much as with scrypt (RFC 7914)."""
    text = _text(settings.model_dump(exclude=_SCALED))
    return hashlib.scrypt(text, salt=version.encode(), dklen=6, **_COST).hex()


def _text(tree: dict[str, Any]) -> bytes:
    return orjson.dumps(tree, default=_plain, option=orjson.OPT_SORT_KEYS)


def _plain(value: object) -> str:
    return value.get_secret_value() if isinstance(value, SecretStr) else str(value)

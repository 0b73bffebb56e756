"""How settings are called: as a path in the tree, and as an environment variable. Pure."""

from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, SecretStr

PREFIX = "DOORSTEP_"
_SECRETS: tuple[Any, ...] = (SecretStr, SecretStr | None)


def variable(*path: str) -> str:
    """The environment variable of a setting: `("kafka", "start")` -> `DOORSTEP_KAFKA__START`."""
    return PREFIX + "__".join(path).upper()


def paths_of(root: type[BaseModel]) -> Iterator[tuple[str, ...]]:
    """The paths of everything that may be set: sections, their settings, and the files of secrets."""
    for name in root.model_fields:
        yield (name,)
        for setting in settings_in(root, name):
            yield (name, setting)


def settings_in(root: type[BaseModel], section: str) -> list[str]:
    """What may be set in a section, files of secrets included; nothing where that is no section."""
    model = _section_model(root, section)
    return [] if model is None else [*model.model_fields, *map(file_of, secrets_in(root, section))]


def secrets_in(root: type[BaseModel], section: str) -> list[str]:
    """The settings of a section that are secrets."""
    model = _section_model(root, section)
    fields = {} if model is None else model.model_fields
    return [name for name, field in fields.items() if field.annotation in _SECRETS]


def secret_variables(root: type[BaseModel]) -> set[str]:
    """The environment variables that may hold a secret: those of secrets, and those of whole sections."""
    sections = {name: secrets_in(root, name) for name in root.model_fields}
    return {
        variable(section, *secret)
        for section, secrets in sections.items()
        for secret in [[], *([name] for name in secrets)]
        if secrets
    }


def file_of(secret: str) -> str:
    """The setting that names the file in which a secret is."""
    return f"{secret}_file"


def _section_model(root: type[BaseModel], section: str) -> type[BaseModel] | None:
    field = root.model_fields.get(section)
    model = field.annotation if field else None
    return model if isinstance(model, type) and issubclass(model, BaseModel) else None

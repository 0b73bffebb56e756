"""The form of a routes file: which tables and fields it may have. `routes` finds out what they mean."""

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError


@dataclass(frozen=True, slots=True)
class Mistake:
    """One thing that is wrong in a routes file."""

    route: str
    """The table as the file names it, `route.<name>` or `context.<name>`; empty for the file as a whole."""
    field: str
    """The field of that table; empty for the table as a whole."""
    message: str
    """What is wrong and what to do, as the end of a sentence."""

    def __str__(self) -> str:
        place = f"[{self.route}] " if self.route else ""
        return f"{place}{self.field}{': ' if self.field else ''}{self.message}"


class RoutesError(ValueError):
    """The routes file can't be used: the operator's fault. Names all that is wrong in it, a line each."""

    def __init__(self, path: Path, mistakes: Sequence[Mistake]) -> None:
        super().__init__("\n".join(f"{path}: {mistake}" for mistake in mistakes))
        self.path = path
        self.mistakes = tuple(mistakes)

    def __reduce__(self) -> tuple[type["RoutesError"], tuple[Path, Sequence[Mistake]]]:
        return type(self), (self.path, self.mistakes)


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Text = Annotated[str, Field(min_length=1)]
Paths = Annotated[list[Text], BeforeValidator(_as_list), Field(min_length=1)]
"""One dotted path, or a list of them of which the first that holds something wins."""


class Table(BaseModel):
    """What every table has. `topics`: whose records it is about; `contract`: the model of their `data`."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid")

    topics: Annotated[list[Text], Field(min_length=1)]
    contract: Text
    correlation_id: Paths = ["correlation_id"]


class EventTable(Table):
    """`[route.<name>]`: records that become notifications."""

    user: Paths | None = None
    user_from_batch: Paths | None = None
    event: Text | None = None
    event_from: Paths | None = None
    data: dict[Text, Paths] = {}
    data_from: Paths | None = None
    dedupe: list[Text] = []


class ContextTable(Table):
    """`[context.<name>]`: records that tell the user of a batch."""

    batch: Paths
    user: Paths


Tables = Mapping[str, EventTable | ContextTable]
"""The tables of a file by their full name, `route.<name>` or `context.<name>`."""

_FORMS: Mapping[str, type[EventTable | ContextTable]] = {"route": EventTable, "context": ContextTable}


def read_tables(path: Path) -> tuple[Tables, Sequence[Mistake]]:
    """Read the file: the tables of the right form, and what is wrong with the others.

    Raises `RoutesError` for a file that can't be read, isn't TOML, or has no tables.
    """
    tables: dict[str, EventTable | ContextTable] = {}
    mistakes: list[Mistake] = []
    for kind, name, content in _contents(path):
        form = _FORMS.get(kind)
        if form is None or not isinstance(content, dict):
            mistakes.append(Mistake("", f"{kind}.{name}".rstrip("."), _NOT_A_TABLE))
            continue
        try:
            tables[f"{kind}.{name}"] = form.model_validate(content)
        except ValidationError as error:
            mistakes += _misshapen(f"{kind}.{name}", form, error)
    return tables, mistakes


_NOT_A_TABLE = "isn't known here: a routes file has tables [route.<name>] and [context.<name>], nothing else"


def _contents(path: Path) -> Iterator[tuple[str, str, object]]:
    """Kind, name and content of everything in the file."""
    for kind, group in _parsed(path).items():
        if isinstance(group, dict):
            yield from ((kind, name, content) for name, content in group.items())
        else:
            yield kind, "", group


def _parsed(path: Path) -> Mapping[str, object]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise _unusable(path, f"can't be read ({error.strerror}): set DOORSTEP_ROUTES to a file") from error
    except ValueError as error:
        raise _unusable(path, f"isn't TOML in UTF-8: {error}") from error
    if not content:
        raise _unusable(path, "has no routes: add a table [route.<name>]")
    return content


def _unusable(path: Path, message: str) -> RoutesError:
    return RoutesError(path, [Mistake("", "", message)])


def _misshapen(table: str, form: type[Table], error: ValidationError) -> Iterator[Mistake]:
    for detail in error.errors(include_url=False, include_input=False):
        field = ".".join(map(str, detail["loc"]))
        if detail["type"] == "extra_forbidden":
            yield Mistake(table, field, f"isn't known here: remove it, or use {', '.join(form.model_fields)}")
        elif detail["type"] == "missing":
            yield Mistake(table, field, "is missing: add it")
        else:
            yield Mistake(table, field, f"has the wrong form: {detail['msg'].lower()}")

"""Routes: which topics are read, and what becomes of their records. Checked whole, compiled once.

`docs/routes.md` describes the file. What a record becomes is decided in `doorstep.actors.consuming.decode`.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from pathlib import Path
from types import ModuleType, NoneType
from typing import Any, TypeGuard

from pydantic import BaseModel, PydanticUndefinedAnnotation, PydanticUserError, create_model

from doorstep.config import contracts
from doorstep.config.contracts import Contract, Envelope
from doorstep.config.identifiers import RESERVED_PREFIX, identifier_fault
from doorstep.config.routes_file import ContextTable, EventTable, Mistake, RoutesError, Tables, read_tables
from doorstep.config.sources import Source, SourceError, compile_source, read_together

__all__ = ["ContextRoute", "EventRoute", "Mistake", "Route", "RouteTable", "RoutesError", "load_routes"]

_TOPIC = re.compile(r"(?!\.{1,2}$)[A-Za-z0-9._-]{1,249}")
"""Kafka's rule for the names of topics."""


@dataclass(frozen=True, slots=True)
class _Route:
    name: str
    """As the file names it: `route.<name>` or `context.<name>`."""
    topics: frozenset[str]
    contract: type[BaseModel]
    """The model of an event's `data`."""
    envelope: type[Envelope]
    """The envelope around that contract."""
    validate: Callable[[bytes], Envelope]
    """Parses and validates the value of a record, in one go, as that envelope."""
    correlation_id: Source


@dataclass(frozen=True, slots=True)
class EventRoute(_Route):
    """Records that become notifications. One of `user` and `batch` is set."""

    user: Source | None
    batch: Source | None
    """Whose user gets the notification."""
    event: str | Source
    """The name of every event, or where an event's own name is found."""
    data_from: Source | None
    """An object whose fields all go into the notification's `data`."""
    data: Mapping[str, Source]
    """The fields of the notification's `data`; they win over those of `data_from`."""
    dedupe: tuple[Source, ...]
    """The business key: events that agree in all of it are one event. Empty: the event's id decides."""
    read_data: Callable[[BaseModel], Sequence[Any]]
    """Reads the values of `data`, in its order."""
    open_ended: bool
    """Whether `data` may hold anything but texts, whole numbers and truth values."""


@dataclass(frozen=True, slots=True)
class ContextRoute(_Route):
    """Records that tell which user a batch belongs to."""

    batch: Source
    user: Source


Route = EventRoute | ContextRoute


@dataclass(frozen=True, slots=True)
class RouteTable:
    """All routes of a file."""

    by_topic: Mapping[str, Route]

    @property
    def event_topics(self) -> frozenset[str]:
        """Topics whose records become notifications."""
        return frozenset(topic for topic, route in self.by_topic.items() if isinstance(route, EventRoute))

    @property
    def context_topics(self) -> frozenset[str]:
        """Topics whose records tell the user of a batch."""
        return frozenset(self.by_topic) - self.event_topics

    @property
    def routes(self) -> tuple[Route, ...]:
        """Every route once, in the file's order."""
        return tuple({route.name: route for route in self.by_topic.values()}.values())


def load_routes(path: Path) -> RouteTable:
    """Read, check and compile a routes file.

    Imports the modules of contracts that are given as `package.module:Model`. Raises `RoutesError`, which
    names everything that is wrong in the file.
    """
    tables, misshapen = read_tables(path)
    mistakes = [*misshapen, *_wrong_topics(tables), *_wrong_events(tables), *_missing_contexts(tables)]
    routes: list[Route] = []
    for name, table in tables.items():
        routes += _compiled(name, table, mistakes)
    if mistakes:
        raise RoutesError(path, mistakes)
    return RouteTable({topic: route for route in routes for topic in sorted(route.topics)})


def _wrong_topics(tables: Tables) -> Iterator[Mistake]:
    seen: dict[str, str] = {}
    for name, table in tables.items():
        for topic in table.topics:
            if not _TOPIC.fullmatch(topic):
                yield Mistake(name, "topics", f'"{topic}" can\'t be the name of a Kafka topic: correct it')
            elif topic in seen:
                where = "twice here" if seen[topic] == name else f"in [{seen[topic]}] too"
                yield Mistake(name, "topics", f'"{topic}" is {where}: a topic has one route, remove one')
            seen.setdefault(topic, name)


def _missing_contexts(tables: Tables) -> Iterator[Mistake]:
    if any(isinstance(table, ContextTable) for table in tables.values()):
        return
    for name, table in tables.items():
        if isinstance(table, EventTable) and table.user_from_batch is not None:
            message = "needs a table [context.<name>] that tells the user of a batch: add one, or give user"
            yield Mistake(name, "user_from_batch", message)


def _wrong_events(tables: Tables) -> Iterator[Mistake]:
    for name, table in tables.items():
        if not isinstance(table, EventTable):
            continue
        if (table.user is None) == (table.user_from_batch is None):
            yield Mistake(name, "user", "or user_from_batch must be given, and only one of them")
        if (table.event is None) == (table.event_from is None):
            yield Mistake(name, "event", "or event_from must be given, and only one of them")
        if table.event is not None and (fault := event_name_fault(table.event)):
            yield Mistake(name, "event", f'"{table.event}" {fault}: choose another name')


@lru_cache(maxsize=4096)
def event_name_fault(name: str) -> str | None:
    """Say what keeps `name` from being an event's name, as the end of a sentence; None if nothing does."""
    if name.startswith(RESERVED_PREFIX):
        return f'starts with "{RESERVED_PREFIX}", which only the server\'s own messages do'
    return identifier_fault(name)


class _ContractError(ValueError):
    """There is no such contract, or it can't be used."""


def _find_contract(reference: str) -> type[BaseModel]:
    module_name, _, model_name = reference.rpartition(":")
    module = _imported(module_name) if module_name else contracts
    models = {name: model for name, model in vars(module).items() if _is_contract(model)}
    if model_name in models:
        return models[model_name]
    there = ", ".join(models) or "none"
    raise _ContractError(
        f'there is no model "{model_name}" in {module.__name__} (there are: {there}): name one of them, or '
        'give a pydantic model of your own as "package.module:Model"'
    )


def _is_contract(model: object) -> TypeGuard[type[BaseModel]]:
    is_model = isinstance(model, type) and issubclass(model, BaseModel)
    return is_model and model not in (BaseModel, Contract, Envelope)


def _imported(name: str) -> ModuleType:
    try:
        return import_module(name)
    except Exception as error:  # what the user's module raises is its own affair, and the operator's to read
        raise _ContractError(
            f'"{name}" can\'t be imported ({type(error).__name__}: {error}): install it where Doorstep runs, '
            "or put its folder on PYTHONPATH"
        ) from error


def _envelope(contract: type[BaseModel]) -> type[Envelope]:
    try:
        contract.model_rebuild()
        return create_model(f"{contract.__name__}Envelope", __base__=Envelope, data=(contract, ...))
    except (PydanticUserError, PydanticUndefinedAnnotation) as error:
        raise _ContractError(f"{contract.__name__} can't be used: {error.message}") from error


_NOWHERE = Source((), lambda _: None, frozenset())
"""Stands for what couldn't be found, until all mistakes of the file are known."""


@dataclass(frozen=True, slots=True)
class _Lookup:
    """Finds the values that one table names. What can't be found is added to `mistakes`."""

    table: str
    envelope: type[Envelope]
    mistakes: list[Mistake]

    def anything(self, field: str, paths: Sequence[str]) -> Source:
        """Whatever is at one of these paths."""
        try:
            return compile_source(self.envelope, paths)
        except SourceError as error:
            return self._failed(field, str(error))

    def text(self, field: str, paths: Sequence[str]) -> Source:
        """Text, or a value whose type nobody can know before it comes."""
        source = self.anything(field, paths)
        return source if source.only(str, object) else self._unlike(field, source, "text")

    def optional_text(self, field: str, paths: Sequence[str] | None) -> Source | None:
        return None if paths is None else self.text(field, paths)

    def an_object(self, field: str, paths: Sequence[str] | None) -> Source | None:
        if paths is None:
            return None
        source = self.anything(field, paths)
        return source if source.only(dict, BaseModel, object) else self._unlike(field, source, "an object")

    def key(self, field: str, path: str) -> Source:
        """What can be compared without doubt: always text, or always a whole number."""
        source = self.anything(field, [path])
        if source.only(str) or source.only(int):
            return source
        return self._unlike(field, source, "text or a whole number")

    def _unlike(self, field: str, source: Source, what: str) -> Source:
        found = " or ".join(sorted(kind.__name__ for kind in source.kinds - {NoneType}))
        return self._failed(field, f'"{source.text}" is of type {found}, but must be {what}: take another')

    def _failed(self, field: str, message: str) -> Source:
        self.mistakes.append(Mistake(self.table, field, message))
        return _NOWHERE


def _compiled(name: str, table: EventTable | ContextTable, mistakes: list[Mistake]) -> Iterator[Route]:
    """The route of a table, good for use if there are no mistakes; none where the contract is missing."""
    try:
        contract = _find_contract(table.contract)
        lookup = _Lookup(name, _envelope(contract), mistakes)
    except _ContractError as error:
        mistakes.append(Mistake(name, "contract", str(error)))
        return
    if isinstance(table, EventTable):
        yield _event_route(table, contract, lookup)
    else:
        yield _context_route(table, contract, lookup)


def _event_route(table: EventTable, contract: type[BaseModel], lookup: _Lookup) -> EventRoute:
    data = {name: lookup.anything(f"data.{name}", paths) for name, paths in table.data.items()}
    data_from = lookup.an_object("data_from", table.data_from)
    return EventRoute(
        name=lookup.table,
        topics=frozenset(table.topics),
        contract=contract,
        envelope=lookup.envelope,
        validate=lookup.envelope.__pydantic_validator__.validate_json,
        correlation_id=lookup.text("correlation_id", table.correlation_id),
        user=lookup.optional_text("user", table.user),
        batch=lookup.optional_text("user_from_batch", table.user_from_batch),
        event=table.event or lookup.text("event_from", table.event_from or []),
        data_from=data_from,
        data=data,
        dedupe=tuple(lookup.key("dedupe", path) for path in table.dedupe),
        read_data=read_together(list(data.values())),
        open_ended=data_from is not None or not all(source.only(str, int, bool) for source in data.values()),
    )


def _context_route(table: ContextTable, contract: type[BaseModel], lookup: _Lookup) -> ContextRoute:
    return ContextRoute(
        name=lookup.table,
        topics=frozenset(table.topics),
        contract=contract,
        envelope=lookup.envelope,
        validate=lookup.envelope.__pydantic_validator__.validate_json,
        correlation_id=lookup.text("correlation_id", table.correlation_id),
        batch=lookup.text("batch", table.batch),
        user=lookup.text("user", table.user),
    )

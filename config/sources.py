"""Where in an event a value is found: dotted paths, checked against a model and compiled once. Pure."""

import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from operator import attrgetter, itemgetter
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel

Read = Callable[[BaseModel], Any]


class SourceError(ValueError):
    """No such path in the model: the message says which part, and what is there instead."""


@dataclass(frozen=True, slots=True)
class Source:
    """A value of a validated event: the first of some paths that holds something."""

    paths: tuple[str, ...]
    """As they were written."""
    read: Read
    """Takes the validated event; None where none of the paths holds anything."""
    kinds: frozenset[type]
    """The types that `read` may return: `BaseModel` stands for every model, `object` for any type."""
    attribute: str | None = None
    """The dotted name of the attribute that `read` returns, where it does nothing else."""

    @property
    def text(self) -> str:
        """The paths, joined by " or "."""
        return " or ".join(self.paths)

    def only(self, *allowed: type) -> bool:
        """Whether nothing but these types, or nothing at all, can be found."""
        return self.kinds <= {types.NoneType, *allowed}


def compile_source(model: type[BaseModel], paths: Sequence[str]) -> Source:
    """Check `paths` against `model` and make them one `Source`.

    A path goes through fields by their names; below a `dict` or `Any`, where nothing can be checked, any
    name is allowed, and what isn't there reads as None. Raises `SourceError` for a path `model` can't have.
    """
    found = [_follow(model, path) for path in paths]
    kinds = frozenset().union(*(kinds for _, kinds in found))
    read = _first([read for read, _ in found])
    return Source(tuple(paths), read, kinds, paths[0] if isinstance(read, attrgetter) else None)


def read_together(sources: Sequence[Source]) -> Callable[[BaseModel], Sequence[Any]]:
    """A reader of what all of them read, in their order: at the price of one where one model has them all."""
    attributes = [source.attribute.rpartition(".") for source in sources if source.attribute is not None]
    owners = {owner for owner, _, _ in attributes}
    if len(sources) < 2 or len(attributes) < len(sources) or len(owners) > 1 or "" in owners:
        return lambda event: [source.read(event) for source in sources]
    owner_of, values_of = attrgetter(owners.pop()), itemgetter(*(name for _, _, name in attributes))
    return lambda event: values_of(vars(owner_of(event)))


def _first(reads: Sequence[Read]) -> Read:
    if len(reads) == 1:
        return reads[0]

    def read(event: BaseModel) -> Any:
        return next((value for read in reads if (value := read(event)) is not None), None)

    return read


def _follow(model: type[BaseModel], path: str) -> tuple[Read, frozenset[type]]:
    segments = path.split(".")
    reached: list[Any] = [model]
    sure = True
    for depth, segment in enumerate(segments):
        below = [_children(annotation, segment) for annotation in reached]
        if not any(below):
            raise SourceError(_no_such(segments, depth, reached))
        sure = sure and all(below) and all(_is_model(annotation) for annotation in reached)
        reached = [member for children in below for child in children for member in _members(child)]
    read: Read = attrgetter(path) if sure else _careful(segments)
    absent = set() if sure else {types.NoneType}
    return read, frozenset({_kind(annotation) for annotation in reached} | absent)


def _careful(segments: Sequence[str]) -> Read:
    """A reader for paths on which an object may be missing, or a `dict` whose fields nobody has checked."""

    def read(event: BaseModel) -> Any:
        value: Any = event
        for segment in segments:
            if isinstance(value, BaseModel):
                value = getattr(value, segment, None)
            else:
                value = value.get(segment) if isinstance(value, dict) else None
        return value

    return read


def _children(annotation: Any, name: str) -> list[Any]:
    """The annotations of what is called `name` in a value of this type: none, if there can't be one."""
    if _is_model(annotation):
        fields = annotation.model_fields
        return [fields[name].annotation] if name in fields else []
    if _is_mapping(annotation):
        return [(get_args(annotation) or (Any, Any))[1]]
    return [Any] if annotation is Any else []


def _members(annotation: Any) -> Iterator[Any]:
    """The types that an annotation stands for, without `Annotated` and with unions taken apart."""
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from _members(get_args(annotation)[0])
    elif origin in (Union, types.UnionType):
        for member in get_args(annotation):
            yield from _members(member)
    elif origin is Literal:
        yield from (type(value) for value in get_args(annotation))
    else:
        yield Any if annotation is object or isinstance(annotation, TypeVar) else annotation


def _kind(annotation: Any) -> type:
    if _is_model(annotation):
        return BaseModel
    kind = get_origin(annotation) or annotation
    return kind if isinstance(kind, type) and annotation is not Any else object


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _is_mapping(annotation: Any) -> bool:
    kind = _kind(annotation)
    return issubclass(kind, Mapping)


def _no_such(segments: Sequence[str], depth: int, reached: Sequence[Any]) -> str:
    path, parent, name = ".".join(segments), ".".join(segments[:depth]), segments[depth]
    models = [annotation for annotation in reached if _is_model(annotation)]
    if not models:
        return f'"{path}" goes below "{parent}", which is not an object: end the path there'
    there = [field for model in models for field in model.model_fields]
    close = get_close_matches(name, there, n=1)
    guess = f'; did you mean "{".".join([*segments[:depth], close[0]])}"?' if close else "."
    owner = " or ".join(model.__name__ for model in models)
    return f'"{path}" can\'t be found: {owner} has no "{name}"{guess} It has {", ".join(there)}'

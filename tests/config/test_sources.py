"""Paths are checked against the model, and find what is there without ever raising."""

from enum import Enum
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, StringConstraints

from doorstep.config.sources import Source, SourceError, compile_source

pytestmark = pytest.mark.patient


class Colour(Enum):
    RED = "red"


class Leaf(BaseModel):
    title: str
    size: int | None = None


class OtherLeaf(BaseModel):
    weight: int


class Tree(BaseModel):
    name: Annotated[str, StringConstraints(min_length=1)]
    kind: Literal["oak", "ash"] | None = None
    colour: Colour | None = None
    leaf: Leaf
    fallen: Leaf | None = None
    either: Leaf | OtherLeaf
    free: dict[str, Any] = {}
    counts: dict[str, int] = {}
    anything: Any = None
    tags: list[str] = []


TREE = Tree(
    name="elm",
    leaf=Leaf(title="first", size=3),
    either=OtherLeaf(weight=5),
    free={"deep": {"er": "yes"}, "title": 1},
    counts={"rings": 30},
    anything="text",
)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("name", "elm"),
        ("leaf.title", "first"),
        ("leaf.size", 3),
        ("fallen", None),
        ("fallen.title", None),
        ("either.weight", 5),
        ("either.title", None),
        ("free.deep.er", "yes"),
        ("free.deep.no.way", None),
        ("free.title.upper", None),
        ("counts.rings", 30),
        ("counts.missing", None),
        ("anything", "text"),
        ("anything.upper", None),
    ],
)
def test_a_path_finds_what_is_there_and_none_where_nothing_is(path: str, value: object) -> None:
    assert compile_source(Tree, [path]).read(TREE) == value


@pytest.mark.parametrize(
    ("path", "kinds"),
    [
        ("name", {str}),
        ("kind", {str, type(None)}),
        ("colour", {Colour, type(None)}),
        ("leaf", {BaseModel}),
        ("leaf.size", {int, type(None)}),
        ("fallen.title", {str, type(None)}),
        ("either.title", {str, type(None)}),
        ("counts", {dict}),
        ("counts.rings", {int, type(None)}),
        ("free.deep.er", {object, type(None)}),
        ("anything", {object}),
        ("tags", {list}),
    ],
)
def test_kinds_are_the_types_that_may_be_found(path: str, kinds: set[type]) -> None:
    assert compile_source(Tree, [path]).kinds == kinds


def test_the_first_alternative_that_holds_something_wins() -> None:
    source = compile_source(Tree, ["fallen.title", "leaf.title", "name"])
    assert source.read(TREE) == "first"
    assert source.text == "fallen.title or leaf.title or name"
    assert compile_source(Tree, ["fallen.title", "kind"]).read(TREE) is None


def test_an_empty_value_is_something() -> None:
    source = compile_source(Tree, ["leaf.title", "name"])
    assert source.read(TREE.model_copy(update={"leaf": Leaf(title="")})) == ""


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("nmae", 'Tree has no "nmae"; did you mean "name"?'),
        ("leaf.titel", 'Leaf has no "titel"; did you mean "leaf.title"? It has title, size'),
        ("leaf.zzz", 'Leaf has no "zzz". It has title, size'),
        ("either.zzz", 'Leaf or OtherLeaf has no "zzz"'),
        ("name.upper", '"name.upper" goes below "name", which is not an object'),
        ("tags.0", '"tags.0" goes below "tags"'),
        ("counts.rings.x", '"counts.rings.x" goes below "counts.rings"'),
        ("leaf.model_dump", 'Leaf has no "model_dump"'),
        ("", 'Tree has no ""'),
        ("leaf.", 'Leaf has no ""'),
    ],
)
def test_a_path_that_the_model_cannot_have_is_refused_with_what_it_has(path: str, complaint: str) -> None:
    with pytest.raises(SourceError) as caught:
        compile_source(Tree, ["name", path])
    assert complaint in str(caught.value)


def test_only_looks_past_none() -> None:
    source = Source(("x",), lambda _: None, frozenset({str, type(None)}))
    assert source.only(str)
    assert source.only(str, int)
    assert not source.only(int)

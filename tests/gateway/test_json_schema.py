"""Schemas made plain, and what a route's path leads to."""

from typing import Any

import pytest
from pydantic import BaseModel

from doorstep.gateway.json_schema import NULL, Schema, an_object, at_paths, plain


class Leaf(BaseModel):
    """A leaf."""

    title: str
    size: int | None = None


class Tree(BaseModel):
    name: str
    leaf: Leaf
    fallen: Leaf | None = None
    payload: dict[str, Any] = {}
    counts: dict[str, int] = {}
    anything: Any = None
    inner: "Tree | None" = None


TREE = plain(Tree.model_json_schema())
TEXT: Schema = {"type": "string"}
WHOLE: Schema = {"type": "integer"}


def test_a_plain_schema_has_no_references_titles_or_defaults() -> None:
    assert "$ref" not in str(TREE)
    assert TREE["properties"]["leaf"] == {
        **an_object({"title": TEXT, "size": {"anyOf": [WHOLE, NULL]}}),
        "required": ["title"],
        "description": "A leaf.",
    }


def test_a_model_inside_itself_may_be_anything_there() -> None:
    inner = plain(
        {"$ref": "#/$defs/Tree", "$defs": {"Tree": {"properties": {"inner": {"$ref": "#/$defs/Tree"}}}}}
    )
    assert inner == {"properties": {"inner": {}}}


@pytest.mark.parametrize(
    ("paths", "expected"),
    [
        (["name"], TEXT),
        (["leaf.title"], TEXT),
        (["leaf.size"], {"anyOf": [WHOLE, NULL]}),
        (["fallen.title"], {"anyOf": [TEXT, NULL]}),
        (["payload.deep.down"], {}),
        (["counts.one"], {"anyOf": [WHOLE, NULL]}),
        (["anything.at.all"], {}),
        (["fallen.title", "name"], TEXT),
        (["fallen.size", "fallen.title"], {"anyOf": [WHOLE, TEXT, NULL]}),
        (["name", "leaf.title"], TEXT),
    ],
)
def test_what_a_path_leads_to(paths: list[str], expected: Schema) -> None:
    assert at_paths(TREE, paths) == expected


def test_a_field_keeps_its_description() -> None:
    described = an_object({"batch": {"type": "string", "description": "The batch."}})
    assert at_paths(described, ["batch"]) == {"type": "string", "description": "The batch."}

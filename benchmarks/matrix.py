"""One file for several scenarios that differ in a few values. Pure.

`matrix = {users = [1000, 10000]}` makes one scenario of each value (of each combination, where there are
several lists), and `{users}` in any text of the file stands for it.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any


def expand(table: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The scenarios that a file describes, in the order of the values; the file itself if it has no matrix.

    Raises `ValueError` that names a placeholder which is no value of the matrix.
    """
    matrix = table.get("matrix", {})
    rest = {name: part for name, part in table.items() if name != "matrix"}
    if not matrix:
        yield rest
        return
    for values in product(*matrix.values()):
        yield {name: _filled(part, dict(zip(matrix, values, strict=True))) for name, part in rest.items()}


def _filled(part: Any, values: Mapping[str, object]) -> Any:
    match part:
        case str():
            return _text(part, values)
        case list():
            return [_filled(each, values) for each in part]
        case dict():
            return {name: _filled(each, values) for name, each in part.items()}
    return part


def _text(text: str, values: Mapping[str, object]) -> str:
    try:
        return text.format_map(values)
    except KeyError as error:
        raise ValueError(f"{text!r}: the matrix has no {error}") from error

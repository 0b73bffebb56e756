"""The cursor: an opaque resume token that says how far a client has got in its user's log. Pure."""

import re
from dataclasses import dataclass
from typing import Literal, Self

_FORM = re.compile(r"(0|[1-9][0-9]{0,15})-([0-9a-f]{16})")

ResetReason = Literal["gone", "trimmed", "diverged", "malformed"]
"""Why a log can't be continued from a cursor; `malformed`: because it is none."""


class CursorError(ValueError):
    """The text is not a cursor: the client's fault, answered with a reset."""


@dataclass(frozen=True, slots=True, order=False)
class Cursor:
    """Position `seq` in a log whose history up to there has the given `digest` (16 hex digits).

    Before the first notification it is the id of the store: no cursor of one store is one of another.
    """

    seq: int
    digest: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read `<seq>-<digest>`; raises `CursorError` for anything else."""
        match = _FORM.fullmatch(text)
        if match is None:
            raise CursorError(f"not a cursor: {text[:64]!r}")
        return cls(int(match[1]), match[2])

    def __str__(self) -> str:
        return f"{self.seq}-{self.digest}"

"""What Doorstep writes beside each offset that it commits to Kafka. Pure.

It tells a commit of ours from one that a person has made with a tool, says of which topic of that name it is,
and remembers what Redis may lose: the store's id, and how far it still has to be rebuilt.
"""

import re
from typing import NamedTuple

_FORM = re.compile(r"doorstep/1 ([0-9a-f]{16}) ([\w-]*) (0|[1-9][0-9]{0,18})", re.ASCII)


class MetadataError(ValueError):
    """The metadata is Doorstep's, but of another version."""


class CommitMetadata(NamedTuple):
    """A commit's metadata."""

    store_id: str
    topic_id: str = ""
    """Empty where it is not known."""
    rebuilt_to: int = 0
    """See `recovery.Commit`."""

    def __str__(self) -> str:
        return f"doorstep/1 {self.store_id} {self.topic_id} {self.rebuilt_to}"


def read_metadata(text: str | None) -> CommitMetadata | None:
    """Inverse of `str`; None for whatever Doorstep has not written.

    Raises `MetadataError`: what a newer Doorstep has written must not be taken for a person's commit.
    """
    if not (text or "").startswith("doorstep/"):
        return None
    match = _FORM.fullmatch(text or "")
    if match is None:
        raise MetadataError(
            f"the group's commits have metadata of another Doorstep ({text!r}): run that version, or commit "
            "the offsets anew with a tool of Kafka's, or set another DOORSTEP_KAFKA__GROUP_ID"
        )
    return CommitMetadata(match[1], match[2], int(match[3]))

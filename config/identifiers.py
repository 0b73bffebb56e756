"""What user and batch ids may be, which become parts of Redis keys, and the names of events. Pure."""

import re
from functools import lru_cache

MAX_IDENTIFIER_BYTES = 256

RESERVED_PREFIX = "doorstep."
"""Events whose names start with it are the server's own messages; no producer may send one."""

_FORBIDDEN = re.compile("[\x00-\x1f\x7f-\x9f{}\ud800-\udfff]")
_SURELY_SHORT = MAX_IDENTIFIER_BYTES // 4


@lru_cache(maxsize=16_384)
def identifier_fault(text: str) -> str | None:
    """Say what keeps `text` from being a user or batch id, as the end of a sentence; None if nothing does.

    An id has 1 to 256 bytes of UTF-8. It has no control characters, so that it can be logged, and no braces,
    which would move a key to another slot of a Redis Cluster.
    """
    if not text:
        return "is empty"
    if _FORBIDDEN.search(text):
        return "has control characters, braces or half a surrogate pair"
    if len(text) > _SURELY_SHORT and len(text.encode()) > MAX_IDENTIFIER_BYTES:
        return f"is longer than {MAX_IDENTIFIER_BYTES} bytes"
    return None

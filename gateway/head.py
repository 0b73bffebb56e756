"""Reading the head of an HTTP/1.1 request: strict, and only as far as routing needs. Pure.

Strict means that whatever two parsers could read differently is refused (RFC 9112): bare CR or LF, folded
lines, white space before a colon, more than one Host, a body with two lengths.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100

_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) ([!-\"$-~]+) HTTP/1\.([01])")
_ABSOLUTE_FORM = re.compile(r"https?://([^/?]*)(/[^?]*)?(\?.*)?", re.IGNORECASE)
_HEADER = re.compile(
    r"^([!#$%&'*+.^_`|~0-9A-Za-z-]++):[ \t]*+([\t -~\x80-\xff]*+)\r\n",
    re.MULTILINE,
)
"""It gives nothing back (`++`, `*+`): a long line that fails would be tried in quadratically many ways."""
_LENGTH = re.compile(r"[0-9]{1,15}")
_HOST = re.compile(r"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_ONCE = ("host", "content-length", "origin", "authorization", "sec-websocket-key", "sec-websocket-version")


_NO_REQUEST_LINE = "the request line is not `METHOD /path HTTP/1.1`"


class HeadError(Exception):
    """The client's fault: `status` and `code` of the problem to answer, and a text without its secrets."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Head:
    """A request head. Header names are lower case, values are stripped; `size` counts its bytes.

    `first` has the first value of each header. Where a token can be is kept out of `repr`.
    """

    method: str
    target: str = field(repr=False)
    minor: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    first: Mapping[str, str] = field(repr=False)
    size: int

    def get(self, name: str) -> str | None:
        """The first value of the header, None without one."""
        return self.first.get(name)

    def items_of(self, name: str) -> list[str]:
        """The comma-separated items of all headers of that name, stripped, without empty ones."""
        if name not in self.first:
            return []
        values = [value for header, value in self.headers if header == name]
        return [item.strip() for value in values for item in value.split(",") if item.strip()]

    @property
    def path(self) -> str:
        """The target up to its query, as sent."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        """What follows the `?` of the target, as sent."""
        return self.target.partition("?")[2]


def parse_head(data: bytes) -> Head | None:
    """Read the head at the start of `data`; None while it is incomplete, `HeadError` once it can't be one."""
    end = data.find(_END, 0, MAX_HEAD_BYTES + len(_END))
    if end < 0:
        _check_beginning(data)
        return None
    first_line, _, lines = data[: end + 2].decode("latin-1").partition("\r\n")
    if lines.count("\r\n") > MAX_HEADERS:
        raise HeadError(431, "too_many_headers", f"more than {MAX_HEADERS} headers")
    method, target, minor = _request_line(first_line)
    headers = _headers(lines)
    first = dict(reversed(headers))
    _check_headers(headers, first, minor)
    host, target = _origin_form(target)
    if host is not None:
        headers = (("host", host), *(header for header in headers if header[0] != "host"))
        first = {**first, "host": host}
    if not is_host(first.get("host", "none")):
        raise HeadError(400, "malformed_host", "the host is not a name or address with an optional port")
    return Head(method, target, minor, headers, first, end + len(_END))


def is_host(text: str) -> bool:
    """Whether that is a host as browsers send it: a name or address, and maybe a port."""
    return _HOST.fullmatch(text) is not None


def _check_beginning(data: bytes) -> None:
    if len(data) >= MAX_HEAD_BYTES:
        raise HeadError(431, "head_too_large", f"the request head is longer than {MAX_HEAD_BYTES} bytes")
    if data.count(b"\n") != data.count(b"\r\n") or b"\0" in data:
        raise HeadError(400, "malformed_head", "the request head has a bare line feed or a NUL")


def _request_line(line: str) -> tuple[str, str, int]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None:
        raise HeadError(400, "malformed_head", _NO_REQUEST_LINE)
    return match[1], match[2], int(match[3])


def _origin_form(target: str) -> tuple[str | None, str]:
    """The target as clients send it to a server itself, and the host of one that was written for a proxy:
    that one counts, and not the Host header (RFC 9112, 3.2.2)."""
    if target.startswith("/") or target == "*":
        return None, target
    match = _ABSOLUTE_FORM.fullmatch(target)
    if match is None:
        raise HeadError(400, "malformed_head", _NO_REQUEST_LINE)
    return match[1], (match[2] or "/") + (match[3] or "")


def _headers(lines: str) -> tuple[tuple[str, str], ...]:
    """Each match is a whole line and has one line feed: with as many matches as those, nothing is left."""
    found = _HEADER.findall(lines)
    if len(found) != lines.count("\n"):
        raise HeadError(400, "malformed_head", "a header line is malformed")
    return tuple([(name.lower(), value.rstrip(" \t")) for name, value in found])


def _check_headers(headers: Sequence[tuple[str, str]], first: Mapping[str, str], minor: int) -> None:
    if len(first) < len(headers):
        _check_repeated([name for name, _ in headers])
    if minor == 1 and "host" not in first:
        raise HeadError(400, "missing_host", "HTTP/1.1 needs a Host header")
    if not _LENGTH.fullmatch(first.get("content-length", "0")):
        raise HeadError(400, "malformed_head", "Content-Length is not a number")
    if "content-length" in first and "transfer-encoding" in first:
        raise HeadError(400, "ambiguous_body", "both Content-Length and Transfer-Encoding")
    if "transfer-encoding" in first or int(first.get("content-length", "0")):
        raise HeadError(413, "body_not_accepted", "no request here has a body")
    if "expect" in first:
        raise HeadError(417, "expectation_failed", "nothing is expected here before the answer")


def _check_repeated(names: Sequence[str]) -> None:
    for name in _ONCE:
        if names.count(name) > 1:
            raise HeadError(400, "repeated_header", f"more than one {name} header")

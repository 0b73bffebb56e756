"""Reading the head of an HTTP/1.1 request: pure, strict, and only as far as routing needs.

Strict means that whatever two parsers could read differently is refused (RFC 9112): bare CR or LF, folded
lines, white space before a colon, more than one Host, a body with two lengths.
"""

import base64
import binascii
import re
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

MAX_HEAD_BYTES = 16 * 1024
MAX_HEADERS = 100

_END = b"\r\n\r\n"
_REQUEST_LINE = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32}) (/[!-~]*|\*) HTTP/1\.([01])")
_HEADER = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)")
_LENGTH = re.compile(r"[0-9]{1,15}")
_ONCE = ("host", "content-length", "origin", "authorization", "sec-websocket-key", "sec-websocket-version")


class HeadError(Exception):
    """The client's fault: `status` and `code` of the problem to answer, and a text without its secrets."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


@dataclass(frozen=True, slots=True)
class Head:
    """A request head. Header names are lower case, values are stripped; `size` counts its bytes.

    Where a token can be is kept out of `repr`.
    """

    method: str
    target: str = field(repr=False)
    minor: int
    headers: tuple[tuple[str, str], ...] = field(repr=False)
    size: int

    def get(self, name: str) -> str | None:
        """The first value of the header, None without one."""
        for header, value in self.headers:
            if header == name:
                return value
        return None

    def items_of(self, name: str) -> list[str]:
        """The comma-separated items of all headers of that name, stripped, without empty ones."""
        values = [value for header, value in self.headers if header == name]
        return [item.strip() for value in values for item in value.split(",") if item.strip()]

    @property
    def path(self) -> str:
        """The target up to its query, as sent."""
        return self.target.partition("?")[0]

    @property
    def query(self) -> dict[str, str]:
        """The decoded query; of a repeated name the first value. Raises `HeadError` for too many fields."""
        text = self.target.partition("?")[2]
        try:
            pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=50)
        except ValueError as exc:
            raise HeadError(400, "malformed_query", "the query can't be read") from exc
        return dict(reversed(pairs))


def parse_head(data: bytes) -> Head | None:
    """Read the head at the start of `data`; None while it is incomplete, `HeadError` once it can't be one."""
    end = data.find(_END, 0, MAX_HEAD_BYTES + len(_END))
    if end < 0:
        _check_beginning(data)
        return None
    block = data[:end].decode("latin-1")
    first, *rest = block.split("\r\n")
    if len(rest) > MAX_HEADERS:
        raise HeadError(431, "too_many_headers", f"more than {MAX_HEADERS} headers")
    method, target, minor = _request_line(first)
    headers = tuple([_header(line) for line in rest])
    _check_headers(headers, minor)
    return Head(method, target, minor, headers, end + len(_END))


def body_of(head: Head, following: bytes) -> bytes:
    """As much of the bytes after the head as belongs to its request; all of them where chunks say that."""
    if head.get("transfer-encoding") is not None:
        return following
    return following[: int(head.get("content-length") or 0)]


def is_websocket_upgrade(head: Head) -> bool:
    """Whether the request asks to become a WebSocket, well formed or not."""
    return "websocket" in [item.lower() for item in head.items_of("upgrade")] and "upgrade" in [
        item.lower() for item in head.items_of("connection")
    ]


def websocket_key(head: Head) -> str:
    """The handshake's key; raises `HeadError` if the upgrade is not RFC 6455's version 13."""
    if head.method != "GET" or head.minor != 1:
        raise HeadError(400, "malformed_upgrade", "a WebSocket starts with a GET of HTTP/1.1")
    if head.get("content-length") not in (None, "0") or head.get("transfer-encoding") is not None:
        raise HeadError(400, "malformed_upgrade", "a WebSocket starts with a request without a body")
    if head.get("sec-websocket-version") != "13":
        raise HeadError(400, "websocket_version", "Sec-WebSocket-Version must be 13")
    key = head.get("sec-websocket-key") or ""
    try:
        raw = base64.b64decode(key.encode("latin-1"), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise HeadError(400, "malformed_upgrade", "Sec-WebSocket-Key is not base64") from exc
    if len(raw) != 16:
        raise HeadError(400, "malformed_upgrade", "Sec-WebSocket-Key must be 16 bytes in base64")
    return key


def _check_beginning(data: bytes) -> None:
    if len(data) >= MAX_HEAD_BYTES:
        raise HeadError(431, "head_too_large", f"the request head is longer than {MAX_HEAD_BYTES} bytes")
    if data.count(b"\n") != data.count(b"\r\n") or b"\0" in data:
        raise HeadError(400, "malformed_head", "the request head has a bare line feed or a NUL")


def _request_line(line: str) -> tuple[str, str, int]:
    match = _REQUEST_LINE.fullmatch(line)
    if match is None or "#" in match[2]:
        raise HeadError(400, "malformed_head", "the request line is not `METHOD /path HTTP/1.1`")
    return match[1], match[2], int(match[3])


def _header(line: str) -> tuple[str, str]:
    match = _HEADER.fullmatch(line)
    if match is None:
        raise HeadError(400, "malformed_head", "a header line is malformed")
    return match[1].lower(), match[2].rstrip(" \t")


def _check_headers(headers: tuple[tuple[str, str], ...], minor: int) -> None:
    names = [name for name, _ in headers]
    for name in _ONCE:
        if names.count(name) > 1:
            raise HeadError(400, "repeated_header", f"more than one {name} header")
    if minor == 1 and "host" not in names:
        raise HeadError(400, "missing_host", "HTTP/1.1 needs a Host header")
    if any(name == "content-length" and not _LENGTH.fullmatch(value) for name, value in headers):
        raise HeadError(400, "malformed_head", "Content-Length is not a number")
    if "content-length" in names and "transfer-encoding" in names:
        raise HeadError(400, "ambiguous_body", "both Content-Length and Transfer-Encoding")

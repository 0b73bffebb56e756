"""HTTP refusals: RFC 9457 problem documents, as values and as the complete bytes of an answer. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import orjson

from doorstep.gateway.head import HeadError

PHRASES = {
    200: "OK",
    204: "No Content",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    405: "Method Not Allowed",
    408: "Request Timeout",
    413: "Content Too Large",
    417: "Expectation Failed",
    429: "Too Many Requests",
    431: "Request Header Fields Too Large",
    503: "Service Unavailable",
}
"""The statuses that Doorstep answers with, and their phrases (RFC 9110)."""

PROBLEM_TYPE = "application/problem+json"
RETRY_AFTER_S = {429: 10, 503: 1}


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was refused. `code` is for programs, `detail` for people; neither holds a secret."""

    status: int
    code: str
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)

    def body(self) -> bytes:
        """The problem document: type, title, status, detail, code."""
        return orjson.dumps(
            {
                "type": f"urn:doorstep:problem:{self.code}",
                "title": PHRASES[self.status],
                "status": self.status,
                "detail": self.detail,
                "code": self.code,
            }
        )

    def all_headers(self) -> dict[str, str]:
        """Its headers, with `Retry-After` (seconds) and `WWW-Authenticate` where the status asks for them."""
        headers = dict(self.headers)
        if self.status in RETRY_AFTER_S:
            headers.setdefault("Retry-After", str(RETRY_AFTER_S[self.status]))
        if self.status == 401:
            headers.setdefault("WWW-Authenticate", "Bearer")
        return headers

    def response(self, more_headers: Mapping[str, str] | None = None) -> bytes:
        """A whole HTTP/1.1 answer that closes the connection."""
        headers = {**self.all_headers(), **(more_headers or {})}
        return http_response(self.status, self.body(), PROBLEM_TYPE, headers)


class RefusedError(Exception):
    """A request that ends here, with the problem to answer. `facts` are for the operator's log."""

    def __init__(self, problem: Problem, **facts: object) -> None:
        super().__init__(problem.code)
        self.problem = problem
        self.facts = facts
        self.late: bytes | None = None
        """What to answer instead, where the client has asked for it."""

    def response(self) -> bytes:
        """A whole answer that closes the connection."""
        return self.problem.response() if self.late is None else self.late


def problem_of(error: HeadError) -> Problem:
    """What to answer to a request that is wrong by itself."""
    return Problem(error.status, error.code, str(error))


def http_response(status: int, body: bytes, content_type: str, headers: Mapping[str, str]) -> bytes:
    """The bytes of one HTTP/1.1 answer, after which the connection closes."""
    lines = [f"HTTP/1.1 {status} {PHRASES[status]}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if status != 204:
        lines += [f"Content-Type: {content_type}", f"Content-Length: {len(body)}"]
    lines += ["Cache-Control: no-store", "Connection: close", "", ""]
    return "\r\n".join(lines).encode("latin-1") + body


def without_body(response: bytes) -> bytes:
    """The same answer to a HEAD: all of it but its content (RFC 9110, 9.3.2)."""
    return response[: response.index(b"\r\n\r\n") + 4]

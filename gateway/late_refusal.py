"""Refusals that page code can see: the 101 that was asked for, then a close frame that says why. Pure.

A browser hides from a page how a WebSocket was refused: status and problem document become the code 1006. A
page that connects with `?refuse=late` gets a close code instead.
"""

from doorstep.gateway.close_codes import CloseCode
from doorstep.gateway.frames import close_frame
from doorstep.gateway.head import HeadError
from doorstep.gateway.problem import Problem
from doorstep.gateway.query import fields_of

_CODES = {
    400: CloseCode.PROTOCOL_VIOLATION,
    401: CloseCode.TOKEN_EXPIRED,
    403: CloseCode.FORBIDDEN,
    429: CloseCode.TOO_MANY_CONNECTIONS,
    503: CloseCode.TRY_AGAIN_LATER,
}


def is_late(query: str) -> bool:
    """Whether the page wants to be refused after the 101."""
    try:
        return fields_of(query).get("refuse") == "late"
    except HeadError:  # a query that can't be read asks for nothing
        return False


def late_refusal(switching_protocols: str, problem: Problem) -> bytes:
    """The 101, and the close frame for a problem; the reason is the problem's code."""
    return switching_protocols.encode("ascii") + close_frame(_CODES[problem.status], problem.code)

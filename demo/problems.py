"""How the demo's services refuse a request: an exception that becomes a problem document (RFC 9457)."""

import json

from aiohttp import web
from aiohttp.typedefs import Handler
from aiokafka.errors import KafkaError

from doorstep.gateway.auth import AuthError
from doorstep.gateway.problem import PROBLEM_TYPE, Problem


class Refused(Exception):  # noqa: N818  the request's fault, no error of ours
    """The request cannot be done; the caller is told why. `code` is for programs, `detail` for people."""

    def __init__(self, status: int, code: str, detail: str) -> None:
        super().__init__(detail)
        self.problem = Problem(status, code, detail)


@web.middleware
async def explain(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Answer with a problem document what a handler raises because of its caller, or as Kafka is away."""
    try:
        return await handler(request)
    except Refused as refusal:
        return _answer(refusal.problem)
    except AuthError as error:
        return _answer(Problem(401, error.code, str(error)))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        return _answer(Problem(400, "unreadable_body", f"The body cannot be read: {error}."))
    except KafkaError as error:
        return _answer(Problem(503, "kafka_unavailable", f"Kafka did not take it: {error}. Try again."))


def _answer(problem: Problem) -> web.Response:
    return web.Response(
        status=problem.status,
        body=problem.body(),
        content_type=PROBLEM_TYPE,
        headers=problem.all_headers(),
    )

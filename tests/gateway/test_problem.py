"""Refusals as RFC 9457 wants them."""

import pytest

from doorstep.gateway.problem import Problem, http_response, without_body
from tests.gateway.wire import parse_answer


def test_a_refusal_is_a_whole_answer() -> None:
    answer = parse_answer(Problem(403, "origin_not_allowed", "not from there").response({"Vary": "Origin"}))
    assert answer.status == 403
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["connection"] == "close"
    assert answer.headers["vary"] == "Origin"
    assert answer.json == {
        "type": "urn:doorstep:problem:origin_not_allowed",
        "title": "Forbidden",
        "status": 403,
        "detail": "not from there",
        "code": "origin_not_allowed",
    }


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 408, 413, 417, 429, 431, 503])
def test_every_status_can_be_answered(status: int) -> None:
    answer = parse_answer(Problem(status, "code", "detail").response())
    assert answer.status == answer.json["status"] == status
    assert ("retry-after" in answer.headers) == (status in (429, 503))
    assert ("www-authenticate" in answer.headers) == (status == 401)


def test_a_problems_own_retry_after_counts() -> None:
    assert parse_answer(Problem(503, "c", "d", {"Retry-After": "7"}).response()).headers["retry-after"] == "7"


def test_an_answer_without_content_has_no_length() -> None:
    answer = parse_answer(http_response(204, b"", "", {}))
    assert (answer.status, answer.body) == (204, b"")
    assert "content-length" not in answer.headers


def test_a_head_request_gets_all_but_the_content() -> None:
    whole = Problem(404, "not_found", "detail\r\n\r\n").response()
    assert without_body(whole) == whole.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

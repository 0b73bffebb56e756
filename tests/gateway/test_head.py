"""Request heads: what is read, what is refused, and that nothing else ever happens."""

import time
from contextlib import suppress

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from doorstep.gateway.head import (
    MAX_HEAD_BYTES,
    MAX_HEADERS,
    Head,
    HeadError,
    parse_head,
)
from doorstep.gateway.upgrade import is_websocket_upgrade, switching_protocols
from tests.gateway.wire import request

pytestmark = pytest.mark.patient

WRONG_HOSTS = [
    "",
    " ",
    "caf\xe9",
    "<script>",
    "a b",
    "a/b",
    "a@b",
    "a:b",
    "a:123456",
    "[::1",
    "a,b",
    "a%20b",
    "\x80",
]


def parsed(data: bytes) -> Head:
    head = parse_head(data)
    assert head is not None
    return head


def refusal(data: bytes) -> HeadError:
    with pytest.raises(HeadError) as caught:
        parse_head(data)
    return caught.value


def test_a_head_is_taken_apart() -> None:
    data = request("/v1/ws?cursor=a%20b&x", "X-Two:  a b \t", "x-two: c,, d")
    head = parsed(data + b"the rest")
    assert (head.method, head.path, head.minor, head.size) == ("GET", "/v1/ws", 1, len(data))
    assert head.query == "cursor=a%20b&x"
    assert head.get("x-two") == "a b"
    assert head.items_of("x-two") == ["a b", "c", "d"]
    assert head.get("absent") is None


@pytest.mark.parametrize("cut", [0, 1, 10, -1])
def test_an_incomplete_head_is_waited_for(cut: int) -> None:
    assert parse_head(request("/")[:cut]) is None


@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\nHost: a\n\n",
        b"GET / HTTP/1.1\r\nHost: a\n\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHo\0st",
        b"GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n folded\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : a\r\n\r\n",
        b"GET / HTTP/1.1\r\n: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost\r\n\r\n",
        b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1 \r\nHost: a\r\n\r\n",
        b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
        b"GET / HTTP/0.9\r\nHost: a\r\n\r\n",
        b"GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"G(T / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\r\n\r\n",
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(data: bytes) -> None:
    error = refusal(data)
    assert (error.status, error.code) == (400, "malformed_head")


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (request("/", "Host: other"), "repeated_header"),
        (request("/", "Authorization: Bearer a", "authorization: Bearer b"), "repeated_header"),
        (request("/", "Origin: http://a", "Origin: http://b"), "repeated_header"),
        (request("/", "Content-Length: 1", "Content-Length: 1"), "repeated_header"),
        (request("/", "Content-Length: 1", "Transfer-Encoding: chunked"), "ambiguous_body"),
        (request("/", host=None), "missing_host"),
        (request("http://a/", host=None), "missing_host"),
        *((request("/", host=host), "malformed_host") for host in WRONG_HOSTS),
        *((request(f"http://{host}/"), "malformed_host") for host in ("", "user@a", "a:b", "[::1")),
        (request("/", "Content-Length: -1"), "malformed_head"),
        (request("/", "Content-Length: +1"), "malformed_head"),
        (request("/", "Content-Length: 1, 1"), "malformed_head"),
        (request("/", "Content-Length:"), "malformed_head"),
        (request("/", "Content-Length: \xb2"), "malformed_head"),
    ],
)
def test_ambiguous_headers_are_refused(data: bytes, code: str) -> None:
    error = refusal(data)
    assert (error.status, error.code) == (400, code)


def test_http_1_0_needs_no_host() -> None:
    assert parsed(b"GET / HTTP/1.0\r\n\r\n").minor == 0


def test_a_head_up_to_the_limit_is_read_and_no_longer_one() -> None:
    frame = len(request("/", "X: "))
    longest = request("/", "X: " + "x" * (MAX_HEAD_BYTES - frame))
    assert parsed(longest).size == MAX_HEAD_BYTES
    for data in (
        request("/", "X: " + "x" * (MAX_HEAD_BYTES - frame + 5)),
        longest[:-4].ljust(MAX_HEAD_BYTES),
    ):
        assert (refusal(data).status, refusal(data).code) == (431, "head_too_large")


def test_too_many_headers_are_refused() -> None:
    most = [f"X-{number}: 1" for number in range(MAX_HEADERS - 1)]
    assert len(parsed(request("/", *most)).headers) == MAX_HEADERS
    error = refusal(request("/", *most, "X: 1"))
    assert (error.status, error.code) == (431, "too_many_headers")


@pytest.mark.parametrize("line", ["X:" + " " * 16000 + "\x01", "X" * 16000, ("X:" + " " * 80 + "\n") * 190])
def test_a_malformed_head_is_refused_in_no_time(line: str) -> None:
    start = time.process_time()
    assert refusal(request("/", line)).code == "malformed_head"
    assert time.process_time() - start < 0.1


@pytest.mark.parametrize(
    ("header", "status", "code"),
    [
        ("Content-Length: 1", 413, "body_not_accepted"),
        ("Content-Length: 999999999999999", 413, "body_not_accepted"),
        ("Transfer-Encoding: chunked", 413, "body_not_accepted"),
        ("Transfer-Encoding: identity", 413, "body_not_accepted"),
        ("Expect: 100-continue", 417, "expectation_failed"),
    ],
)
def test_what_nobody_here_has_a_use_for_is_refused(header: str, status: int, code: str) -> None:
    for method in ("GET", "POST", "HEAD"):
        error = refusal(request("/", header, method=method))
        assert (error.status, error.code) == (status, code)


def test_an_empty_body_is_none() -> None:
    assert parsed(request("/", "Content-Length: 0", method="POST")).method == "POST"


@pytest.mark.parametrize(
    "host", ["a", "a.test", "a.test:80", "my_service:8000", "127.0.0.1", "[::1]:8000", "a."]
)
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    assert parsed(request("/", host=host)).get("host") == host


@pytest.mark.parametrize(
    ("target", "host", "path", "query"),
    [
        ("http://a.test/p?q=1", "a.test", "/p", "q=1"),
        ("HTTPS://A.test:81/p", "A.test:81", "/p", ""),
        ("http://a.test", "a.test", "/", ""),
        ("http://a.test?q", "a.test", "/", "q"),
        ("http://[::1]:80/", "[::1]:80", "/", ""),
    ],
)
def test_a_target_for_a_proxy_is_taken_apart(target: str, host: str, path: str, query: str) -> None:
    """RFC 9112, 3.2.2: its host counts, and not the Host header."""
    head = parsed(request(target, "X: y", host="ignored"))
    assert (head.get("host"), head.path, head.query) == (host, path, query)
    assert head.headers == (("host", host), ("x", "y"))


_lines = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.sampled_from(
            [b"Host: a", b"Upgrade: websocket", b"Connection: upgrade", b"X:", b"Content-Length: -1"]
        ),
    ),
    max_size=12,
)


@given(_lines, st.sampled_from([b"\r\n", b"\n", b"\r", b"\r\n\r\n"]), st.binary(max_size=20))
@example([b"GET / HTTP/1.1", b"Host: a"], b"\r\n", b"")
def test_any_bytes_are_a_head_or_incomplete_or_refused(lines: list[bytes], end: bytes, rest: bytes) -> None:
    data = b"GET / HTTP/1.1\r\n" + end.join([*lines, b"", rest])
    with suppress(HeadError):
        head = parse_head(data)
        if head is not None:
            is_websocket_upgrade(head)
            switching_protocols(head)


_name = st.text("abcdefghijklmnopqrstuvwxyz-_!~0123456789", min_size=1, max_size=12)
_value = st.text(
    st.characters(min_codepoint=0x20, max_codepoint=0xFF, exclude_characters="\x7f"), max_size=30
).map(lambda text: "".join(char for char in text if not 0x7F <= ord(char) < 0x80).strip(" \t"))


@given(st.lists(st.tuples(_name, _value), max_size=20), st.integers(min_value=0), st.binary(max_size=10))
def test_a_strict_head_comes_out_as_it_went_in_however_it_was_cut(
    headers: list[tuple[str, str]], cut: int, rest: bytes
) -> None:
    headers = [(name, value) for name, value in headers if name not in ("host", "origin", "content-length")]
    data = request("/p?q", *(f"{name}: {value}" for name, value in headers))
    assert parse_head(data[: cut % len(data)]) is None
    head = parsed(data + rest)
    assert head.headers == (("host", "doorstep.test"), *headers)
    assert head.size == len(data)

"""Which pages may connect."""

import pytest

from doorstep.gateway.origin import OriginPolicy, cors_headers


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        (None, "doorstep.test", True),
        (None, None, True),
        ("http://doorstep.test", "doorstep.test", True),
        ("https://doorstep.test", "doorstep.test", True),
        ("https://DOORSTEP.test", "doorstep.TEST", True),
        ("https://doorstep.test:443", "doorstep.test", True),
        ("https://doorstep.test", "doorstep.test:443", True),
        ("http://doorstep.test:8000", "doorstep.test:8000", True),
        ("http://[::1]:8000", "[::1]:8000", True),
        ("http://doorstep.test:8001", "doorstep.test:8000", False),
        ("http://doorstep.test", "doorstep.test:8000", False),
        ("https://doorstep.test.evil.test", "doorstep.test", False),
        ("https://evil.test", "doorstep.test", False),
        ("https://doorstep.test@evil.test", "doorstep.test", False),
        ("https://evil.test/doorstep.test", "doorstep.test", False),
        ("null", "doorstep.test", False),
        ("null", "null", False),
        ("file://doorstep.test", "doorstep.test", False),
        ("", "doorstep.test", False),
        ("", "", False),
        ("https://", "", False),
        ("http://doorstep.test:x", "doorstep.test:x", False),
        ("http://[::1", "[::1", False),
        ("https://doorstep.test", None, False),
    ],
)
def test_by_default_pages_of_the_same_host(origin: str | None, host: str | None, allowed: bool) -> None:
    assert OriginPolicy().allows(origin, host) is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://app.test", True),
        ("https://APP.test", True),
        ("https://app.test:443", True),
        ("https://app.test/", False),
        (None, True),
        ("http://app.test", False),
        ("https://app.test:8443", False),
        ("https://doorstep.test", False),
        ("null", False),
    ],
)
def test_a_list_allows_what_it_names(origin: str | None, allowed: bool) -> None:
    assert OriginPolicy(["https://app.test", "https://other.test"]).allows(origin, "doorstep.test") is allowed


@pytest.mark.parametrize(
    ("origin", "allowed"),
    [
        ("https://a.school.test", True),
        ("https://b.a.school.test", True),
        ("https://a.school.test:443", True),
        ("https://school.test", False),
        ("https://evilschool.test", False),
        ("https://.school.test.evil.test", False),
        ("https://evil.test/.school.test", False),
        ("https://evil.test?.school.test", False),
        ("https://evil.test#.school.test", False),
        ("https://x@a.school.test", False),
        ("http://a.school.test", False),
        ("https://a.school.test:8443", False),
        ("http://a.school.test:3000", True),
        ("capacitor://localhost", True),
        ("null", False),
    ],
)
def test_a_leading_star_allows_what_is_below(origin: str, allowed: bool) -> None:
    policy = OriginPolicy(["https://*.school.test", "http://*.school.test:3000", "capacitor://localhost"])
    assert policy.allows(origin, "doorstep.test") is allowed


def test_a_star_allows_every_page() -> None:
    assert OriginPolicy(["*"]).allows("null", None)


def test_only_a_page_needs_cors_headers() -> None:
    assert cors_headers(None) == {}
    assert cors_headers("https://app.test")["Access-Control-Allow-Origin"] == "https://app.test"
    assert cors_headers("https://app.test")["Vary"] == "Origin"

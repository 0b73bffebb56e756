"""Origins as people write them, and as browsers send them."""

import pytest

from doorstep.config.origins import canonical_origin


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("*", "*"),
        ("https://app.test", "https://app.test"),
        ("HTTPS://App.Test/", "https://app.test"),
        ("https://app.test:443", "https://app.test"),
        ("http://app.test:80", "http://app.test"),
        ("https://app.test:80", "https://app.test:80"),
        ("http://localhost:3000", "http://localhost:3000"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://b\xfccher.example", "https://xn--bcher-kva.example"),
        ("https://stra\xdfe.example", "https://xn--strae-oqa.example"),
        ("https://*.app.test:443", "https://*.app.test"),
        ("https://*.app.test:8443/", "https://*.app.test:8443"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh"),
    ],
)
def test_an_origin_has_one_spelling(text: str, canonical: str) -> None:
    assert canonical_origin(text) == canonical
    assert canonical_origin(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "app.test", "app.test:443", "//app.test", "https://", "https:app.test", "https://app.test/path",
        "https://app.test?x", "https://app.test#x", "https://u@app.test", "https://*", "https://*.", "https://*app.test",
        "https://app.*", "https://a.*.test", "https://**.test", "https://app.test:99999", "https://app.test:x",
        "https://a b", "https://a%20b", "https://[::1", "https://[zz]", "*.app.test", "https://\u200b.test",
    ],
)  # fmt: skip
def test_what_no_page_can_match_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        canonical_origin(text)

"""Where clients find Doorstep, as people write it."""

import pytest

from doorstep.config.public_url import checked_public_url
from doorstep.config.settings import load_settings
from doorstep.config.settings_errors import SettingsError

pytestmark = pytest.mark.patient


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("wss://push.test", "wss://push.test"),
        ("wss://push.test/", "wss://push.test"),
        ("ws://localhost:8000/a/b", "ws://localhost:8000/a/b"),
        ("ws://[::1]:8000", "ws://[::1]:8000"),
        ("wss://{node}.push.test:443", "wss://{node}.push.test:443"),
        ("wss://push-{node}.test/", "wss://push-{node}.test"),
        ("wss://push.test/at/{node}/", "wss://push.test/at/{node}"),
    ],
)
def test_an_address_is_taken_without_its_last_slash(text: str, url: str) -> None:
    assert checked_public_url(text) == url
    assert checked_public_url(url) == url


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("https://push.test", "write ws:// or wss://"),
        ("push.test", "write ws:// or wss://"),
        ("wss://", "write ws:// or wss://"),
        ("wss://u:p@push.test", "write ws:// or wss://"),
        ("wss://push.test:99999", "write ws:// or wss://"),
        ("wss://push.test:{node}", "write ws:// or wss://"),
        ("wss://push.test?x", "write ws:// or wss://"),
        ("wss://push.test#x", "write ws:// or wss://"),
        ("wss://push.test\n", "write ws:// or wss://"),
        ("wss://{pod}.push.test", "write ws:// or wss://"),
        ("{node}://push.test", "write ws:// or wss://"),
        ("wss://{node}.push.test/{node}", "may be there once"),
        ("wss://push.test/v1/ws", "leave /v1/ws off"),
        ("wss://push.test/v1/ws/", "leave /v1/ws off"),
    ],
)
def test_what_is_no_address_is_an_error_that_helps(text: str, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        checked_public_url(text)
    with pytest.raises(SettingsError, match=rf"gateway\.public_url .*{error}"):
        load_settings(None, gateway={"public_url": text})


def test_homes_are_for_nodes_with_addresses_of_their_own() -> None:
    for url, has_homes in ((None, False), ("wss://push.test", False), ("wss://{node}.push.test", True)):
        assert load_settings(None, gateway={"public_url": url}).gateway.has_homes is has_homes

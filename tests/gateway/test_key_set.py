"""Keys of an identity provider: rotation, outages, and how often they are fetched."""

import asyncio
from collections.abc import Iterator

import pytest

from doorstep.gateway import key_set
from doorstep.gateway.key_set import KeySet, KeysUnavailableError
from tests.gateway.identity import IdentityProvider, SigningKey

OLD, NEW, ANOTHER = SigningKey("old"), SigningKey("new", "ES256"), SigningKey("another")


@pytest.fixture
def provider() -> Iterator[IdentityProvider]:
    with IdentityProvider(OLD.jwk()) as running:
        yield running


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys may be fetched again at once."""
    monkeypatch.setattr(key_set, "FETCH_INTERVAL_S", 0)
    monkeypatch.setattr(key_set, "FIRST_FETCH_INTERVAL_S", 0)


async def test_keys_are_fetched_once_and_kept(provider: IdentityProvider) -> None:
    keys = KeySet(provider.url)
    found = await asyncio.gather(*(keys.find("old") for _ in range(50)))
    assert all(key is not None and key.key_id == "old" for key in found)
    assert await keys.find("old")
    assert provider.fetches == 1


async def test_a_flood_of_unknown_key_ids_is_one_fetch(provider: IdentityProvider) -> None:
    keys = KeySet(provider.url)
    assert set(await asyncio.gather(*(keys.find(f"unknown-{number}") for number in range(50)))) == {None}
    assert await keys.find("unknown") is None
    assert provider.fetches == 1


@pytest.mark.usefixtures("impatient")
async def test_a_rotated_key_is_found(provider: IdentityProvider) -> None:
    keys = KeySet(provider.url)
    assert await keys.find("old")
    provider.keys = [NEW.jwk()]
    new = await keys.find("new")
    assert new is not None
    assert new.algorithm_name == "ES256"
    assert await keys.find("old") is None


async def test_a_rotated_key_waits_until_the_next_fetch_is_due(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeySet(provider.url)
    assert await keys.find("old")
    provider.keys = [NEW.jwk()]
    assert await keys.find("new") is None
    monkeypatch.setattr(key_set, "FETCH_INTERVAL_S", 0)
    assert await keys.find("new")


@pytest.mark.usefixtures("impatient")
async def test_old_keys_are_used_while_new_ones_are_fetched(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeySet(provider.url)
    assert await keys.find("old")
    monkeypatch.setattr(key_set, "LIFESPAN_S", 0)
    provider.keys, provider.delay_s = [NEW.jwk()], 0.2
    assert await keys.find("old")
    while provider.fetches < 2:  # noqa: ASYNC110 - another thread counts
        await asyncio.sleep(0.01)
    assert await keys.find("new")
    assert await keys.find("old") is None


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "body"),
    [(500, b"oops"), (200, b"no JSON"), (200, b"[]"), (200, b"{}"), (200, b'{"keys":7}'), (200, b"\xff\xfe")],
)
async def test_an_outage_of_the_provider_costs_no_keys(
    provider: IdentityProvider, status: int, body: bytes
) -> None:
    keys = KeySet(provider.url)
    assert await keys.find("old")
    provider.status, provider.body = status, body
    assert await keys.find("new") is None
    assert await keys.find("old")


async def test_without_any_keys_yet_it_is_tried_again_soon(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.status = 500
    keys = KeySet(provider.url)
    for _ in range(3):
        with pytest.raises(KeysUnavailableError):
            await keys.find("old")
    assert provider.fetches == 1
    provider.status = 200
    monkeypatch.setattr(key_set, "FIRST_FETCH_INTERVAL_S", 0)
    assert await keys.find("old")


async def test_a_provider_that_hangs_is_not_waited_for_longer_than_that(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "TIMEOUT_S", 0.1)
    provider.delay_s = 1
    with pytest.raises(KeysUnavailableError):
        await asyncio.wait_for(KeySet(provider.url).find("old"), 0.6)


@pytest.mark.parametrize("kid", [None, "only"])
async def test_a_single_key_is_found_without_an_id(provider: IdentityProvider, kid: str | None) -> None:
    provider.keys = [OLD.jwk(kid=kid)]
    assert await KeySet(provider.url).find(None)


async def test_among_several_keys_the_id_is_needed(provider: IdentityProvider) -> None:
    provider.keys = [OLD.jwk(), NEW.jwk()]
    assert await KeySet(provider.url).find(None) is None


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (OLD.jwk(alg=None), "RS256"),
        (OLD.jwk(alg="PS512"), "PS512"),
        (NEW.jwk(alg=None), "ES256"),
        (SigningKey("ed", "EdDSA").jwk(alg=None), "EdDSA"),
        (OLD.jwk(use="sig"), "RS256"),
        (OLD.jwk(use="enc"), None),
        (OLD.jwk(alg="HS256"), None),
        (OLD.jwk(alg="none"), None),
        ({"kty": "oct", "kid": "old", "k": "c2VjcmV0"}, None),
        ({"kty": "RSA", "kid": "old", "n": "!", "e": 1}, None),
        ({"kty": ["RSA"], "kid": "old"}, None),
        ({"kid": "old"}, None),
    ],
)
async def test_each_key_has_one_algorithm_that_fits_its_type(
    provider: IdentityProvider, key: dict[str, str], algorithm: str | None
) -> None:
    provider.keys = [key, ANOTHER.jwk()]
    keys = KeySet(provider.url)
    found = await keys.find(key["kid"])
    assert await keys.find("another")
    assert (found.algorithm_name if found else None) == algorithm

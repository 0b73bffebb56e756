"""Keys of an identity provider: rotation, outages, and how often they are fetched."""

import asyncio
import gc
from collections.abc import Iterator

import pytest

from doorstep.gateway import key_set
from doorstep.gateway.key_set import KeySet, KeysUnavailableError
from tests.gateway.identity import IdentityProvider, SigningKey

ED = SigningKey("ed", "EdDSA")
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
    found = await asyncio.gather(*(keys.find("old", "RS256") for _ in range(50)))
    assert all([key.key_id for key in keys_found] == ["old"] for keys_found in found)
    assert await keys.find("old", "RS256")
    assert provider.fetches == 1


async def test_a_flood_of_unknown_key_ids_is_one_fetch(provider: IdentityProvider) -> None:
    """The first are judged by it; those after can't be judged until the next is due."""
    keys = KeySet(provider.url)
    found = await asyncio.gather(*(keys.find(f"unknown-{number}", "RS256") for number in range(50)))
    assert found == [[]] * 50
    with pytest.raises(KeysUnavailableError):
        await keys.find("unknown", "RS256")
    assert await keys.find("old", "RS256")
    assert provider.fetches == 1


@pytest.mark.usefixtures("impatient")
async def test_a_rotated_key_is_found(provider: IdentityProvider) -> None:
    keys = KeySet(provider.url)
    assert await keys.find("old", "RS256")
    provider.keys = [NEW.jwk()]
    (new,) = await keys.find("new", "ES256")
    assert new.algorithm_name == "ES256"
    assert not await keys.find("old", "RS256")


async def test_a_rotated_key_waits_until_the_next_fetch_is_due(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeySet(provider.url)
    assert await keys.find("old", "RS256")
    provider.keys = [NEW.jwk()]
    with pytest.raises(KeysUnavailableError):
        await keys.find("new", "ES256")
    monkeypatch.setattr(key_set, "FETCH_INTERVAL_S", 0)
    assert await keys.find("new", "ES256")


@pytest.mark.usefixtures("impatient")
async def test_old_keys_are_used_while_new_ones_are_fetched(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = KeySet(provider.url)
    assert await keys.find("old", "RS256")
    monkeypatch.setattr(key_set, "LIFESPAN_S", 0)
    provider.keys, provider.delay_s = [NEW.jwk()], 0.2
    assert await keys.find("old", "RS256")
    while provider.fetches < 2:  # noqa: ASYNC110 - another thread counts
        await asyncio.sleep(0.01)
    assert await keys.find("new", "ES256")
    assert not await keys.find("old", "RS256")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("status", "body"),
    [
        (500, b"oops"),
        (200, b"no JSON"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"keys":7}'),
        (200, b"\xff\xfe"),
        (200, b'{"keys":[]}'),
        (200, b'{"keys":[{"kty":"oct","k":"AA"}]}'),
        (200, b'{"keys":' + b"[" * 100_000),
        (200, b'{"a":' * 100_000),
        (200, b'{"keys":[' + b" " * (1 << 20) + b"]}"),
    ],
)
async def test_an_outage_of_the_provider_costs_no_keys(
    provider: IdentityProvider, status: int, body: bytes
) -> None:
    keys = KeySet(provider.url)
    assert await keys.find("old", "RS256")
    provider.status, provider.body = status, body
    with pytest.raises(KeysUnavailableError):
        await keys.find("new", "ES256")
    assert await keys.find("old", "RS256")
    assert provider.fetches == 2


async def test_without_any_keys_yet_it_is_tried_again_soon(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider.status = 500
    keys = KeySet(provider.url)
    for _ in range(3):
        with pytest.raises(KeysUnavailableError):
            await keys.find("old", "RS256")
    assert provider.fetches == 1
    provider.status = 200
    monkeypatch.setattr(key_set, "FIRST_FETCH_INTERVAL_S", 0)
    assert await keys.find("old", "RS256")


async def test_a_provider_that_hangs_is_not_waited_for_longer_than_that(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "TIMEOUT_S", 0.1)
    provider.delay_s = 1
    with pytest.raises(KeysUnavailableError):
        await asyncio.wait_for(KeySet(provider.url).find("old", "RS256"), 0.6)


async def test_a_provider_that_drips_has_one_deadline_for_it_all(
    provider: IdentityProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(key_set, "TIMEOUT_S", 0.3)
    provider.drip_s = 0.01
    with pytest.raises(KeysUnavailableError):
        await asyncio.wait_for(KeySet(provider.url).find("old", "RS256"), 2)


async def test_nothing_that_a_provider_does_is_left_unretrieved(provider: IdentityProvider) -> None:
    faults: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: faults.append(context))
    provider.body = b"[" * 100_000
    with pytest.raises(KeysUnavailableError):
        await KeySet(provider.url).find("old", "RS256")
    gc.collect()
    await asyncio.sleep(0)
    assert faults == []


@pytest.mark.parametrize("kid", [None, "only"])
async def test_a_single_key_is_found_without_an_id(provider: IdentityProvider, kid: str | None) -> None:
    provider.keys = [OLD.jwk(kid=kid)]
    assert await KeySet(provider.url).find(None, "RS256")


async def test_without_an_id_all_keys_of_the_algorithm_may_fit(provider: IdentityProvider) -> None:
    provider.keys = [OLD.jwk(), NEW.jwk(), ANOTHER.jwk(kid=None)]
    found = await KeySet(provider.url).find(None, "RS256")
    assert [key.key_id for key in found] == ["old", None]


async def test_keys_without_an_id_fit_where_none_has_the_tokens(provider: IdentityProvider) -> None:
    provider.keys = [OLD.jwk(), ANOTHER.jwk(kid=None)]
    keys = KeySet(provider.url)
    assert [key.key_id for key in await keys.find("old", "RS256")] == ["old"]
    assert [key.key_id for key in await keys.find("unknown", "RS256")] == [None]


async def test_one_id_may_have_keys_of_several_types(provider: IdentityProvider) -> None:
    provider.keys = [OLD.jwk(kid="k"), NEW.jwk(kid="k")]
    keys = KeySet(provider.url)
    for algorithm in ("RS256", "ES256"):
        (key,) = await keys.find("k", algorithm)
        assert key.algorithm_name == algorithm


@pytest.mark.parametrize("alg", ["EdDSA", "Ed25519", None])
@pytest.mark.parametrize("asked", ["EdDSA", "Ed25519"])
async def test_ed25519_has_two_names(provider: IdentityProvider, alg: str | None, asked: str) -> None:
    provider.keys = [ED.jwk(alg=alg)]
    assert await KeySet(provider.url).find("ed", asked)


@pytest.mark.parametrize(
    ("key", "algorithm"),
    [
        (OLD.jwk(alg=None), "RS256"),
        (OLD.jwk(alg="PS512"), "PS512"),
        (NEW.jwk(alg=None), "ES256"),
        (ED.jwk(alg=None), "EdDSA"),
        (OLD.jwk(use="sig"), "RS256"),
        (OLD.jwk(use="enc"), None),
        (OLD.jwk(key_ops=["verify"]), "RS256"),
        (OLD.jwk(key_ops=["encrypt"]), None),
        (OLD.jwk(key_ops="verify"), None),
        (OLD.jwk(key_ops=[]), None),
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
    found = await keys.find(key["kid"], algorithm or "RS256")
    assert await keys.find("another", "RS256")
    assert [key.algorithm_name for key in found] == ([algorithm] if algorithm else [])

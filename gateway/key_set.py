"""The keys of an identity provider (JWKS, RFC 7517): fetched, kept, and not fetched too often."""

import asyncio
import math
import time
from collections.abc import Sequence
from copy import copy
from urllib.parse import urlsplit

import jwt
import orjson
import structlog
from jwt import PyJWK

LIFESPAN_S = 300.0
"""Keys older than that are fetched again, while the old ones go on being used."""
FETCH_INTERVAL_S = 30.0
"""The shortest time between two fetches, however many unknown keys are asked for."""
FIRST_FETCH_INTERVAL_S = 1.0
"""The same while there are no keys at all."""
TIMEOUT_S = 5.0
"""For a whole fetch, from the look-up of the name to the last byte."""
MAX_BYTES = 1 << 20
MAX_CANDIDATES = 8
"""Keys that are tried for a token that names none."""

_KINDS = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("EdDSA",)}
_ED25519 = "Ed25519"
"""What RFC 9864 calls EdDSA on the one curve that is understood here; tokens and keys use either name."""

_log = structlog.get_logger(__name__)


class KeysUnavailableError(Exception):
    """Whether there is such a key can't be known now: not the client's fault."""


class KeySet:
    """The signing keys at `url`. Each is good for one algorithm, its own `alg` or the usual one of its type;
    a shared secret in the set is ignored, so that no public key can pass for one. Raises `ValueError` unless
    `url` is one of HTTP."""

    def __init__(self, url: str) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname:
            raise ValueError("this is no address of HTTP or HTTPS")
        self._url = url
        self._keys: Sequence[PyJWK] = ()
        self._tried_at = -math.inf
        self._fetched_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str, refused: Sequence[PyJWK] = ()) -> Sequence[PyJWK]:
        """The keys that a token with this header may be signed with, but for `refused` ones; none where the
        provider has no such key. Keys without an id fit every id. Raises `KeysUnavailableError`."""
        asked_at = time.monotonic()
        keys = self._lookup(kid, algorithm, refused)
        if not keys or asked_at - self._fetched_at > LIFESPAN_S:
            self._start_fetch()
        if not keys and self._fetching is not None:
            await asyncio.wait([self._fetching])
            keys = self._lookup(kid, algorithm, refused)
        if not keys and self._fetched_at < asked_at:
            raise KeysUnavailableError("the token's key is not known, and can't be looked up now")
        return keys

    def _lookup(self, kid: str | None, algorithm: str, refused: Sequence[PyJWK]) -> Sequence[PyJWK]:
        fitting = [key for key in self._keys if key.algorithm_name == algorithm and key not in refused]
        named = [key for key in fitting if kid in (key.key_id, None)]
        return (named or [key for key in fitting if key.key_id is None])[:MAX_CANDIDATES]

    def _start_fetch(self) -> None:
        interval = FETCH_INTERVAL_S if self._keys else FIRST_FETCH_INTERVAL_S
        now = time.monotonic()
        if self._fetching is None and now - self._tried_at >= interval:
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        """Whatever a provider does or sends, the keys stay that were there before."""
        try:
            self._keys = await keys_at(self._url)
            self._fetched_at = time.monotonic()
        except KeysUnavailableError as exc:
            _log.warning("key_set_fetch_failed", error=str(exc), keys_kept=len(self._keys))
        finally:
            self._fetching = None


async def keys_at(url: str) -> Sequence[PyJWK]:
    """The keys that a provider has now and that can be used. Raises `KeysUnavailableError`, which says why
    there are none."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            return _keys_in(await _download(url))
    except Exception as exc:
        raise KeysUnavailableError(str(exc) or type(exc).__name__) from exc


async def _download(url: str) -> bytes:
    import aiohttp  # noqa: PLC0415 - a fifth of what every actor would load at its start, and few need it

    body = bytearray()
    async with aiohttp.ClientSession(trust_env=True) as session, session.get(url) as answer:
        answer.raise_for_status()
        async for piece in answer.content.iter_chunked(64 * 1024):
            body += piece
            if len(body) > MAX_BYTES:
                raise ValueError(f"the key set is longer than {MAX_BYTES} bytes")
    return bytes(body)


def _keys_in(body: bytes) -> Sequence[PyJWK]:
    """The keys we can use; one that we can't is left out and does no harm to the others."""
    described = orjson.loads(body)
    if not isinstance(described, dict) or not isinstance(described.get("keys"), list):
        raise ValueError('the answer has no list of "keys"')
    keys = [key for one in described["keys"] for key in _keys_of(one)]
    if not keys:
        raise ValueError("none of the keys can be used")
    return keys


def _keys_of(described: object) -> Sequence[PyJWK]:
    """The key under each name of its algorithm; nothing where it is not for us."""
    key = _key_of(described)
    if key is None:
        return ()
    if key.algorithm_name != "EdDSA":
        return (key,)
    by_other_name = copy(key)
    by_other_name.algorithm_name = _ED25519
    return key, by_other_name


def _key_of(described: object) -> PyJWK | None:
    if not isinstance(described, dict) or not _is_for_verifying(described.get("key_ops", ["verify"])):
        return None
    try:
        key = PyJWK(described, "EdDSA" if described.get("alg") == _ED25519 else None)
    except (jwt.PyJWTError, NotImplementedError, ValueError, TypeError):
        return None
    fits = key.algorithm_name.startswith(_KINDS.get(key.key_type or "", ()))
    return key if fits and key.public_key_use in ("sig", None) else None


def _is_for_verifying(operations: object) -> bool:
    return isinstance(operations, list) and "verify" in operations

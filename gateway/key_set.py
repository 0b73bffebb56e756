"""The keys of an identity provider (JWKS, RFC 7517): fetched in a thread, kept, and not fetched too often."""

import asyncio
import math
import time

import jwt
import structlog
from jwt import PyJWK, PyJWKClient

LIFESPAN_S = 300.0
"""Keys older than that are fetched again, while the old ones go on being used."""
FETCH_INTERVAL_S = 30.0
"""The shortest time between two fetches, however many unknown key ids come."""
FIRST_FETCH_INTERVAL_S = 1.0
"""The same while there are no keys at all."""
TIMEOUT_S = 5.0

_KINDS = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("EdDSA",)}

_log = structlog.get_logger(__name__)


class KeysUnavailableError(Exception):
    """No key could be fetched yet: the identity provider's fault, or the network's."""


class KeySet:
    """The signing keys at `url`. Each is good for one algorithm, its own `alg` or the usual one of its type;
    a shared secret in the set is ignored, so that no public key can pass for one. Raises `ValueError` unless
    `url` is one of HTTP."""

    def __init__(self, url: str) -> None:
        try:
            self._client = PyJWKClient(url, cache_jwk_set=False, timeout=TIMEOUT_S)
        except jwt.PyJWKClientError as exc:
            raise ValueError(str(exc)) from exc
        self._keys: list[PyJWK] = []
        self._tried_at = -math.inf
        self._fetched_at = -math.inf
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: object) -> PyJWK | None:
        """The key with that id; without an id the only key there is. Raises `KeysUnavailableError`."""
        key = self._lookup(kid)
        if key is None or time.monotonic() - self._fetched_at > LIFESPAN_S:
            self._start_fetch()
        if key is None and self._fetching is not None:
            await asyncio.wait([self._fetching], timeout=TIMEOUT_S)
            key = self._lookup(kid)
        if not self._keys:
            raise KeysUnavailableError("the identity provider's keys can't be read now")
        return key

    def _lookup(self, kid: object) -> PyJWK | None:
        if kid is None:
            return self._keys[0] if len(self._keys) == 1 else None
        return next((key for key in self._keys if key.key_id == kid), None)

    def _start_fetch(self) -> None:
        interval = FETCH_INTERVAL_S if self._keys else FIRST_FETCH_INTERVAL_S
        now = time.monotonic()
        if self._fetching is None and now - self._tried_at >= interval:
            self._tried_at = now
            self._fetching = asyncio.create_task(self._fetch())

    async def _fetch(self) -> None:
        try:
            self._keys = await asyncio.to_thread(self._read)
            self._fetched_at = time.monotonic()
        except (jwt.PyJWTError, OSError, ValueError) as exc:
            _log.warning("key_set.fetch_failed", error=str(exc), keys_kept=len(self._keys))
        finally:
            self._fetching = None

    def _read(self) -> list[PyJWK]:
        """The keys we can use; one that we can't is left out and does no harm to the others. Blocks."""
        described = self._client.fetch_data().get("keys")
        if not isinstance(described, list):
            raise ValueError('the answer has no list of "keys"')
        keys = [_key_of(one) for one in described]
        return [key for key in keys if key is not None and _is_signing_key(key)]


def _key_of(described: object) -> PyJWK | None:
    if not isinstance(described, dict):
        return None
    try:
        return PyJWK(described)
    except (jwt.PyJWTError, NotImplementedError, ValueError, TypeError):
        return None


def _is_signing_key(key: PyJWK) -> bool:
    prefixes = _KINDS.get(key.key_type or "", ())
    return key.public_key_use in ("sig", None) and key.algorithm_name.startswith(prefixes)

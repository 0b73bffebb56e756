"""Who is calling: bearer tokens (JWT), signed with a shared secret or by an identity provider.

No text that leaves this module holds a token or a part of one.
"""

import base64
import binascii
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import jwt
import orjson
from jwt import PyJWK

from doorstep.config.identifiers import identifier_fault
from doorstep.config.settings import AuthSettings
from doorstep.gateway.head import Head
from doorstep.gateway.key_set import KeySet, KeysUnavailableError
from doorstep.gateway.messages import MAX_TOKEN_CHARS
from doorstep.gateway.query import fields_of
from doorstep.gateway.secret import ALGORITHM
from doorstep.gateway.shared_secrets import SharedSecrets

MAX_TIME_S = 253402300800
"""The first second of the year 10000."""

SUBPROTOCOL_PREFIX = "bearer."

_PUBLIC_KEY_ALGORITHMS = frozenset(
    {
        "RS256",
        "RS384",
        "RS512",
        "PS256",
        "PS384",
        "PS512",
        "ES256",
        "ES384",
        "ES512",
        "ES256K",
        "EdDSA",
        "Ed25519",
    }
)

AuthCode = Literal["token_missing", "token_expired", "token_invalid", "auth_unavailable"]


class AuthSetupError(ValueError):
    """The configuration can't authenticate anybody, or not safely: the operator's fault."""


class AuthError(Exception):
    """The token was refused, and `code` says what to do about that.

    `token_expired`: it was good, and a new one is needed. `token_invalid`: it is not good, or not yet.
    `auth_unavailable`: it can't be judged now (its key is not known here, and could not be looked up), for no
    fault of the client: it may try again.
    """

    def __init__(self, code: AuthCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class _WrongSignatureError(AuthError):
    """By one key; another may fit."""


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says: the user, and its end in unix seconds."""

    user_id: str
    expires_at: float


class Authenticator:
    """Verifies tokens against the configured secret and/or key set; raises `AuthSetupError` for neither.

    A token's header chooses among these keys and nothing else: each key has one algorithm, and the keys or
    addresses of keys that a header may carry (`jwk`, `jku`, `x5u`, `x5c`) are never looked at.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self.allow_query_token = settings.allow_query_token
        self._settings = settings
        self._secrets = secrets_of(settings)
        self._keys = _keys_of(settings)
        if not self._secrets and self._keys is None:
            raise AuthSetupError(
                "no way to verify tokens: set DOORSTEP_AUTH__HS256_SECRET, "
                "DOORSTEP_AUTH__HS256_SECRETS_FILE or DOORSTEP_AUTH__JWKS_URL"
            )

    async def authenticate(self, token: str) -> Claims:
        """The claims of a valid token; raises `AuthError`."""
        if len(token) > MAX_TOKEN_CHARS:
            raise AuthError("token_invalid", f"the token is longer than {MAX_TOKEN_CHARS} characters")
        payload = self._secrets.payload_of(token, time.time())
        if payload is None:
            payload = await self._payload_of(token, _header_of(token))
        return _claims(payload)

    async def _payload_of(self, token: str, header: Mapping[str, Any]) -> dict[str, Any]:
        """What is unusual, or wrong."""
        if "crit" in header:
            raise AuthError("token_invalid", "the token needs an extension that is not understood here")
        kid, algorithm = header.get("kid"), header.get("alg")
        secret = self._secrets.key_for(token) if algorithm == ALGORITHM else None
        if secret is not None:
            return self._verify(token, secret)
        if not isinstance(kid, str | None) or not isinstance(algorithm, str | None):
            raise AuthError("token_invalid", "the token is malformed")
        if self._keys is None or algorithm not in _PUBLIC_KEY_ALGORITHMS:
            raise AuthError("token_invalid", "the token's algorithm is not accepted")
        try:
            return await self._verify_by(self._keys, token, kid, algorithm)
        except KeysUnavailableError as exc:
            raise AuthError("auth_unavailable", str(exc)) from exc

    async def _verify_by(self, keys: KeySet, token: str, kid: str | None, algorithm: str) -> dict[str, Any]:
        """By the key that the token names. Without a name, a wrong signature may mean a newer key."""
        candidates = await keys.find(kid, algorithm)
        payload = self._first_payload(token, candidates)
        if payload is None and any(kid is None or key.key_id is None for key in candidates):
            newer = await keys.find(kid, algorithm, refused=candidates)
            payload = self._first_payload(token, newer)
        if payload is None:
            reason = (
                "the token's signature is wrong" if candidates else "the token was signed with an unknown key"
            )
            raise AuthError("token_invalid", reason)
        return payload

    def _first_payload(self, token: str, keys: Sequence[PyJWK]) -> dict[str, Any] | None:
        """By the first of the keys whose signature it is; None where it is none of theirs."""
        for key in keys:
            with suppress(_WrongSignatureError):
                return self._verify(token, key)
        return None

    def _verify(self, token: str, key: PyJWK) -> dict[str, Any]:
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[key.algorithm_name],
                issuer=self._settings.issuer,
                audience=self._settings.audience,
                leeway=self._settings.leeway_s,
                options={
                    "require": ["exp", "sub"],
                    "verify_aud": self._settings.audience is not None,
                    "enforce_minimum_key_length": True,
                },
            )
        except jwt.ExpiredSignatureError as exc:
            raise AuthError("token_expired", "the token has expired") from exc
        except jwt.InvalidSignatureError as exc:
            raise _WrongSignatureError("token_invalid", "the token's signature is wrong") from exc
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError) as exc:
            raise AuthError("token_invalid", _REASONS.get(type(exc), "the token is not valid")) from exc


_REASONS: dict[type[Exception], str] = {
    jwt.InvalidAlgorithmError: "the token's algorithm does not fit its key",
    jwt.InvalidAudienceError: "the token is for another audience",
    jwt.InvalidIssuerError: "the token is from another issuer",
    jwt.ImmatureSignatureError: "the token is not valid yet",
    jwt.MissingRequiredClaimError: "the token lacks a claim (exp, sub; aud and iss where configured)",
}
"""PyJWT's own texts may quote the token's claims."""


def bearer_of(head: Head, *, allow_query: bool) -> str | None:
    """The token that a request carries, from a Bearer Authorization, else from the subprotocol `bearer.<jwt>`
    (all that a browser's WebSocket can set), else from `?token=` where that is allowed. Other schemes are
    between the client and a proxy: a site behind a password sends its own along."""
    scheme, _, token = (head.get("authorization") or "").partition(" ")
    if scheme.lower() == "bearer":
        return token.strip()
    for item in head.items_of("sec-websocket-protocol"):
        if item.startswith(SUBPROTOCOL_PREFIX):
            return item.removeprefix(SUBPROTOCOL_PREFIX)
    return fields_of(head.query).get("token") if allow_query else None


def secrets_of(settings: AuthSettings) -> SharedSecrets:
    """The shared secrets that are configured, maybe none; raises `AuthSetupError`."""
    try:
        return SharedSecrets(settings)
    except (OSError, ValueError) as exc:
        raise AuthSetupError(str(exc)) from exc


def _keys_of(settings: AuthSettings) -> KeySet | None:
    if settings.jwks_url is None:
        return None
    try:
        return KeySet(settings.jwks_url)
    except ValueError as exc:
        raise AuthSetupError(f"DOORSTEP_AUTH__JWKS_URL: {exc}") from exc


def _header_of(token: str) -> dict[str, Any]:
    """The unverified header, good for choosing a key only; PyJWT reads it again, and strictly."""
    segment = token.partition(".")[0]
    try:
        header = orjson.loads(base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4)))
    except (binascii.Error, ValueError) as exc:
        raise AuthError("token_invalid", "the token is malformed") from exc
    if not isinstance(header, dict):
        raise AuthError("token_invalid", "the token is malformed")
    return header


def _claims(payload: Mapping[str, Any]) -> Claims:
    exp, sub = payload["exp"], payload["sub"]
    if not isinstance(exp, int | float) or not 0 < exp < MAX_TIME_S:
        raise AuthError("token_invalid", "exp is not a time")
    fault = identifier_fault(sub) if isinstance(sub, str) else "is not text"
    if fault is not None:
        raise AuthError("token_invalid", f"sub {fault}")
    return Claims(sub, float(exp))

"""Tokens signed with the shared secret (JWS, HS256), as nearly all of them look.

PyJWT spends most of its time on what such a token does not have. What is usual is accepted here; all
else, and with it every refusal, is left to PyJWT. So nothing is accepted here that PyJWT would refuse, and
a test holds that.
"""

import base64
import binascii
import hashlib
import hmac
import re
from functools import lru_cache
from typing import Any

import orjson

from doorstep.config.settings import AuthSettings

ALGORITHM = "HS256"

_FORM = re.compile(r"([\w-]++)\.([\w-]++)\.([\w-]{43})", re.ASCII)
_USUAL_FIELDS = frozenset({"alg", "typ", "kid"})


class SharedSecret:
    """Recognizes the tokens of a secret, and judges their claims."""

    def __init__(self, secret: bytes, settings: AuthSettings) -> None:
        self.secret = secret
        self._settings = settings

    def signed(self, token: str) -> bool:
        """Whether a token was signed with this secret; nothing else about it is judged."""
        form = _FORM.fullmatch(token)
        return form is not None and self._made(*form.groups())

    def payload_of(self, token: str, now: float) -> dict[str, Any] | None:
        """The payload of a usual token that is good at the time `now`; None for any other.

        The signature comes first: whatever is decoded afterwards was written by who knows the secret. It is
        compared as text, so that each signature has one spelling.
        """
        form = _FORM.fullmatch(token)
        if form is None:
            return None
        header, payload, signature = form.groups()
        if not self._made(header, payload, signature):
            return None
        claims = _object_in(payload) if _is_usual(header) else None
        return claims if claims is not None and self._are_good(claims, now) else None

    def _made(self, header: str, payload: str, signature: str) -> bool:
        right = hmac.digest(self.secret, f"{header}.{payload}".encode("ascii"), hashlib.sha256)
        return hmac.compare_digest(_base64url(right), signature.encode("ascii"))

    def _are_good(self, claims: dict[str, Any], now: float) -> bool:
        times = (claims.get("exp"), claims.get("iat", 0), claims.get("nbf", 0))
        if not all(isinstance(time, int | float) for time in times):
            return False
        exp, iat, nbf = map(int, times)
        leeway = self._settings.leeway_s
        return (
            exp > now - leeway
            and max(iat, nbf) <= now + leeway
            and isinstance(claims.get("sub"), str)
            and isinstance(claims.get("jti", ""), str)
            and _agree(self._settings.issuer, claims.get("iss"))
            and _agree(self._settings.audience, claims.get("aud"))
        )


def _agree(wanted: str | None, said: object) -> bool:
    return wanted is None or (wanted == said != "")


@lru_cache(maxsize=64)
def _is_usual(header: str) -> bool:
    """Whether a header asks for nothing that needs thought. There are few different ones."""
    fields = _object_in(header)
    return (
        fields is not None
        and fields.keys() <= _USUAL_FIELDS
        and fields.get("alg") == ALGORITHM
        and isinstance(fields.get("kid", ""), str)
    )


def _object_in(segment: str) -> dict[str, Any] | None:
    """The JSON object in a part of a token; None if it is something else, or spelled in an unusual way."""
    try:
        data = base64.urlsafe_b64decode(segment + "=" * (-len(segment) % 4))
        value = orjson.loads(data)
    except (binascii.Error, ValueError):
        return None
    return value if isinstance(value, dict) and _base64url(data) == segment.encode("ascii") else None


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")

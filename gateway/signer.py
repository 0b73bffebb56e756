"""Signs tokens with the shared secret: for development, the demo and the benchmarks."""

import time

import jwt

from doorstep.config.settings import AuthSettings
from doorstep.gateway.auth import AuthSetupError, secrets_of
from doorstep.gateway.secret import ALGORITHM


class Signer:
    """Makes tokens that a gateway with the same settings accepts."""

    def __init__(self, settings: AuthSettings) -> None:
        """Raises `AuthSetupError` where no shared secret is set."""
        self._secrets = secrets_of(settings)
        if not self._secrets:
            raise AuthSetupError(
                "DOORSTEP_AUTH__HS256_SECRET is not set: there is nothing to sign a token with"
            )
        named = {"iss": settings.issuer, "aud": settings.audience}
        self._named = {claim: value for claim, value in named.items() if value}

    def sign(self, user_id: str, lifetime_s: float, /, **claims: object) -> str:
        """A token of `user_id`, with the configured issuer and audience, and with `claims` over all those."""
        now = time.time()
        everything = {"sub": user_id, "iat": int(now), "exp": now + lifetime_s, **self._named, **claims}
        return jwt.encode(everything, self._secrets.signing, algorithm=ALGORITHM)

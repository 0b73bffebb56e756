"""The shared secrets in force: of the settings, and of a file, which is read again when it changes."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jwt
import structlog
from jwt import PyJWK

from doorstep.config.settings import AuthSettings
from doorstep.gateway.secret import ALGORITHM, SharedSecret

MIN_SECRET_BYTES = 32
LOOK_INTERVAL_S = 1.0

_log = structlog.get_logger(__name__)

_Stamp = tuple[int, int, int]


class SharedSecrets:
    """Several, so that one can be rotated: the first signs, all verify.

    Raises `ValueError` for a secret that is none. What a file becomes later raises nothing: where it can't be
    used, that is logged and the former secrets stay.
    """

    def __init__(self, settings: AuthSettings) -> None:
        self._settings = settings
        self._stamp: _Stamp | None = None
        self._looked_at = time.monotonic()
        self._secrets = self._read()

    def __bool__(self) -> bool:
        return bool(self._secrets)

    @property
    def signing(self) -> bytes:
        """The secret to sign tokens with; `IndexError` where there is none."""
        self._look()
        return self._secrets[0].secret

    def payload_of(self, token: str, now: float) -> dict[str, Any] | None:
        """See `SharedSecret.payload_of`: by whichever of them the token was signed with."""
        self._look()
        for secret in self._secrets:
            payload = secret.payload_of(token, now)
            if payload is not None:
                return payload
        return None

    def key_for(self, token: str) -> PyJWK | None:
        """The secret that signed a token, in the form that has its one algorithm with it; the first, where
        none of them did; None without any."""
        keys = [_key_of(secret.secret) for secret in self._secrets if secret.signed(token)]
        return next(iter(keys or [_key_of(secret.secret) for secret in self._secrets[:1]]), None)

    def _look(self) -> None:
        """Read the file again if it is another one than a second ago."""
        file, now = self._settings.hs256_secrets_file, time.monotonic()
        if file is None or now - self._looked_at < LOOK_INTERVAL_S:
            return
        self._looked_at = now
        try:
            if _stamp_of(file) != self._stamp:
                self._secrets = self._read()
                _log.info("secrets_read_again", file=str(file), secrets=len(self._secrets))
        except (OSError, ValueError) as error:
            _log.error("secrets_not_usable", file=str(file), error=str(error), former_stay=True)

    def _read(self) -> tuple[SharedSecret, ...]:
        return tuple(SharedSecret(secret, self._settings) for secret in self._texts())

    def _texts(self) -> Iterator[bytes]:
        """That of the settings first."""
        if self._settings.hs256_secret is not None:
            yield _checked(self._settings.hs256_secret.get_secret_value(), "DOORSTEP_AUTH__HS256_SECRET")
        file = self._settings.hs256_secrets_file
        if file is not None:
            name = "DOORSTEP_AUTH__HS256_SECRETS_FILE"
            try:
                self._stamp = _stamp_of(file)
                lines = file.read_text(encoding="utf-8").splitlines()
            except (OSError, UnicodeDecodeError) as error:
                raise ValueError(f"{name}: {file} can't be read as text: {error}") from error
            secrets = [_checked(line, f"{name}: a line of {file}") for line in lines if line]
            if not secrets:
                raise ValueError(f"{name}: {file} holds no secret")
            yield from secrets


def _stamp_of(file: Path) -> _Stamp:
    """What changes with a file, a symbolic link to another one included, as Kubernetes does it."""
    status = file.stat()
    return status.st_ino, status.st_mtime_ns, status.st_size


def _checked(secret: str, name: str) -> bytes:
    data = secret.encode()
    if len(data) < MIN_SECRET_BYTES:
        raise ValueError(
            f"{name} has {len(data)} bytes; HS256 needs at least {MIN_SECRET_BYTES} (RFC 7518, 3.2): "
            "make one with `openssl rand -hex 32`"
        )
    try:
        key = _key_of(data)
        key.Algorithm.prepare_key(key.key)
    except jwt.InvalidKeyError:
        raise ValueError(f"{name} is a public key or a key in JSON, which is no secret") from None
    return data


def _key_of(secret: bytes) -> PyJWK:
    return PyJWK({"kty": "oct", "alg": ALGORITHM, "k": base64.urlsafe_b64encode(secret).decode("ascii")})

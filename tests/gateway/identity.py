"""A real identity provider in miniature: an HTTP server with a key set, and tokens signed by its keys."""

import json
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BufferedIOBase
from typing import Any, Self

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class SigningKey:
    """A key pair with an id, for one algorithm."""

    def __init__(self, kid: str, algorithm: str = "RS256", *, rsa_bits: int = 2048) -> None:
        self.kid = kid
        self.algorithm = algorithm
        self.private = _new_key(algorithm, rsa_bits)

    def sign(self, claims: Mapping[str, object] | None = None, **header: object) -> str:
        """A token; `claims` are added to a valid set, `header` to the header; `kid=None` leaves that out."""
        whole = {"sub": "teacher-1", "exp": time.time() + 60, **(claims or {})}
        named = {name: value for name, value in {"kid": self.kid, **header}.items() if value is not None}
        return jwt.encode(whole, self.private, self.algorithm, headers=named)

    def jwk(self, **fields: object) -> dict[str, Any]:
        """The public half as a JWK (RFC 7517); `alg=None` leaves the algorithm out."""
        whole: dict[str, Any] = _public_jwk(self.private) | {"kid": self.kid, "alg": self.algorithm, **fields}
        return {name: value for name, value in whole.items() if value is not None}

    def public_pem(self) -> bytes:
        """The public half as PEM: what an attacker would take for a shared secret."""
        return self.private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )


def _new_key(algorithm: str, rsa_bits: int) -> PrivateKey:
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if algorithm.startswith("ES"):
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, rsa_bits)


def _public_jwk(key: PrivateKey) -> dict[str, Any]:
    if isinstance(key, rsa.RSAPrivateKey):
        return RSAAlgorithm.to_jwk(key.public_key(), as_dict=True)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECAlgorithm.to_jwk(key.public_key(), as_dict=True)
    return OKPAlgorithm.to_jwk(key.public_key(), as_dict=True)


class IdentityProvider:
    """Serves `keys` (or `body`, if set) at `url`, with `status`; counts the fetches."""

    def __init__(self, *keys: dict[str, Any]) -> None:
        self.keys = list(keys)
        self.body: bytes | None = None
        self.status = 200
        self.delay_s = 0.0
        self.drip_s = 0.0
        self.fetches = 0
        provider = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                provider.fetches += 1
                time.sleep(provider.delay_s)
                body = provider.body or json.dumps({"keys": provider.keys}).encode()
                self.send_response(provider.status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                with suppress(ConnectionError):
                    provider._write(self.wfile, body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/keys"

    def _write(self, stream: BufferedIOBase, body: bytes) -> None:
        """All of it at once, or byte by byte where it drips."""
        size = 1 if self.drip_s else len(body)
        for start in range(0, len(body), max(size, 1)):
            stream.write(body[start : start + size])
            stream.flush()
            time.sleep(self.drip_s)

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

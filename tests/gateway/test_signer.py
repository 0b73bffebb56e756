"""What the signer makes, the authenticator of the same settings accepts."""

import time

import pytest
from pydantic import SecretStr

from doorstep.config.settings import AuthSettings
from doorstep.gateway.auth import Authenticator, AuthError, AuthSetupError
from doorstep.gateway.signer import Signer

SETTINGS = AuthSettings(
    hs256_secret=SecretStr("a secret of more than thirty-two bytes"), issuer="school", audience="doorstep"
)


async def test_a_token_is_good_for_as_long_as_it_says() -> None:
    claims = await Authenticator(SETTINGS).authenticate(Signer(SETTINGS).sign("teacher-1", 60))
    assert claims.user_id == "teacher-1"
    assert claims.expires_at == pytest.approx(time.time() + 60, abs=5)


async def test_claims_replace_those_that_are_configured() -> None:
    with pytest.raises(AuthError):
        await Authenticator(SETTINGS).authenticate(Signer(SETTINGS).sign("teacher-1", 60, aud="another"))


def test_without_a_secret_there_is_nothing_to_sign_with() -> None:
    with pytest.raises(AuthSetupError, match="DOORSTEP_AUTH__HS256_SECRET"):
        Signer(AuthSettings())

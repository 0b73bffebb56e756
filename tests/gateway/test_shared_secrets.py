"""Several shared secrets: one is rotated while tokens of both are about, and nobody is restarted."""

from collections.abc import Sequence
from pathlib import Path

import jwt
import pytest
from pydantic import SecretStr

from doorstep.config.settings import AuthSettings
from doorstep.gateway import shared_secrets
from doorstep.gateway.auth import Authenticator, AuthError, AuthSetupError, secrets_of
from tests.gateway.identity import SigningKey

OLD, NEW, OTHER = (name * 40 for name in "onx")


def token(secret: str) -> str:
    return jwt.encode({"sub": "teacher-1", "exp": 4_000_000_000}, secret, algorithm="HS256")


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of the secrets, which is looked at before every use here."""
    monkeypatch.setattr(shared_secrets, "LOOK_INTERVAL_S", 0)
    path = tmp_path / "secrets"
    write(path, [OLD])
    return path


def write(path: Path, secrets: Sequence[str]) -> None:
    """As a mounted secret changes: the whole file at once."""
    new = path.with_suffix(".new")
    new.write_text("".join(f"{secret}\n" for secret in secrets))
    new.replace(path)


async def accepted(authenticator: Authenticator, secret: str) -> bool:
    try:
        await authenticator.authenticate(token(secret))
    except AuthError:
        return False
    return True


async def test_a_secret_is_rotated_while_it_runs(file: Path) -> None:
    settings = AuthSettings(hs256_secrets_file=file)
    authenticator, secrets = Authenticator(settings), secrets_of(settings)
    assert [await accepted(authenticator, each) for each in (OLD, NEW)] == [True, False]
    for in_force in ([OLD, NEW], [NEW, OLD], [NEW]):
        write(file, in_force)
        assert secrets.signing == in_force[0].encode()
        known = [await accepted(authenticator, each) for each in (OLD, NEW, OTHER)]
        assert known == [OLD in in_force, NEW in in_force, False]


async def test_an_unusual_token_is_verified_by_every_secret(file: Path) -> None:
    write(file, [OLD, NEW])
    authenticator = Authenticator(AuthSettings(hs256_secrets_file=file))
    unusual = jwt.encode(
        {"sub": "teacher-1", "exp": 4_000_000_000}, NEW, algorithm="HS256", headers={"x": "y"}
    )
    assert (await authenticator.authenticate(unusual)).user_id == "teacher-1"


async def test_the_secret_of_the_settings_comes_first(file: Path) -> None:
    settings = AuthSettings(hs256_secret=SecretStr(NEW), hs256_secrets_file=file)
    assert secrets_of(settings).signing == NEW.encode()
    authenticator = Authenticator(settings)
    assert [await accepted(authenticator, each) for each in (OLD, NEW)] == [True, True]


@pytest.mark.parametrize("broken", ["", "short\n", f"{NEW}\nshort\n"])
async def test_a_file_that_becomes_unusable_changes_nothing(file: Path, broken: str) -> None:
    authenticator = Authenticator(AuthSettings(hs256_secrets_file=file))
    write(file, broken.splitlines())
    assert [await accepted(authenticator, each) for each in (OLD, NEW)] == [True, False]
    write(file, [])
    assert await accepted(authenticator, OLD)
    write(file, [NEW])
    assert [await accepted(authenticator, each) for each in (OLD, NEW)] == [False, True]


@pytest.mark.parametrize("text", ["", "\n", "short\n", SigningKey("k").public_pem().decode()])
def test_a_file_without_a_secret_does_not_start(file: Path, text: str) -> None:
    file.write_text(text)
    with pytest.raises(AuthSetupError, match="secret"):
        Authenticator(AuthSettings(hs256_secrets_file=file))


def test_a_file_that_can_not_be_read_does_not_start(tmp_path: Path) -> None:
    noise = tmp_path / "noise"
    noise.write_bytes(b"\xff" * 40)
    for file in (tmp_path / "nowhere", tmp_path, noise):
        with pytest.raises(AuthSetupError, match=rf"DOORSTEP_AUTH__HS256_SECRETS_FILE: {file} can't be read"):
            Authenticator(AuthSettings(hs256_secrets_file=file))

"""Settings as they are handed to other processes."""

import stat
from pathlib import Path

import pytest
from pydantic import SecretStr

from doorstep.config.setting_names import secret_variables
from doorstep.config.settings import Settings, load_settings
from doorstep.config.settings_file import digest_of, read_settings, write_settings


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("DOORSTEP_AUTH__HS256_SECRET", "s3cret, with ünicode")
    monkeypatch.setenv("DOORSTEP_GATEWAY__ALLOWED_ORIGINS", "https://a.example,https://b.example")
    monkeypatch.setenv("DOORSTEP_REDIS__URL", "redis://:hidden@127.0.0.1:6379")
    return load_settings(holders=3, run_dir=Path("/run/x"))


def test_what_is_read_is_what_was_written(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.json"
    write_settings(file, settings)
    monkeypatch.setenv("DOORSTEP_AUTH__HS256_SECRET", "a later one")
    monkeypatch.setenv("DOORSTEP_HOLDERS", "9")
    assert read_settings(file) == settings
    assert type(read_settings(file)) is Settings
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert list(tmp_path.iterdir()) == [file]


def test_the_digest_tells_versions_and_settings_apart(settings: Settings) -> None:
    other = settings.model_copy(
        update={"auth": settings.auth.model_copy(update={"hs256_secret": SecretStr("s3cret, another")})}
    )
    digests = [digest_of(settings, "1"), digest_of(settings, "2"), digest_of(other, "1")]
    assert len(set(digests)) == 3
    assert digest_of(load_settings(holders=3, run_dir=Path("/run/x")), "1") == digests[0]


def test_the_digest_is_the_same_for_any_number_of_actors(settings: Settings) -> None:
    scaled = settings.model_copy(update={"holders": 1, "consumers": 7})
    assert digest_of(scaled, "1") == digest_of(settings, "1")


def test_variables_of_secrets_are_known() -> None:
    assert secret_variables(Settings) == {
        *("DOORSTEP_AUTH", "DOORSTEP_AUTH__HS256_SECRET", "DOORSTEP_REDIS", "DOORSTEP_REDIS__URL"),
        *("DOORSTEP_KAFKA", "DOORSTEP_KAFKA__SASL_PASSWORD", "DOORSTEP_KAFKA__SSL_PASSWORD"),
    }

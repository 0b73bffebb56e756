"""Settings: the public names, which source wins, secrets from files, and errors that help."""

import os
import pickle
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from doorstep.config.settings import Settings, load_settings, unknown_environment
from doorstep.config.settings_errors import SettingsError

pytestmark = pytest.mark.patient

SECRET = "kein-wort-davon-gesehen"

PUBLIC = {
    "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": ("k1:9092,k2:9092", "kafka.bootstrap_servers", "k1:9092,k2:9092"),
    "DOORSTEP_KAFKA__GROUP_ID": ("g", "kafka.group_id", "g"),
    "DOORSTEP_KAFKA__START": ("latest", "kafka.start", "latest"),
    "DOORSTEP_KAFKA__DEAD_LETTER_TOPIC": ("dead", "kafka.dead_letter_topic", "dead"),
    "DOORSTEP_KAFKA__SECURITY_PROTOCOL": ("SASL_SSL", "kafka.security_protocol", "SASL_SSL"),
    "DOORSTEP_KAFKA__SASL_MECHANISM": ("SCRAM-SHA-512", "kafka.sasl_mechanism", "SCRAM-SHA-512"),
    "DOORSTEP_KAFKA__SASL_USERNAME": ("u", "kafka.sasl_username", "u"),
    "DOORSTEP_KAFKA__SSL_CAFILE": ("/ca.pem", "kafka.ssl_cafile", Path("/ca.pem")),
    "DOORSTEP_KAFKA__SSL_CERTFILE": ("/c.pem", "kafka.ssl_certfile", Path("/c.pem")),
    "DOORSTEP_KAFKA__SSL_KEYFILE": ("/k.pem", "kafka.ssl_keyfile", Path("/k.pem")),
    "DOORSTEP_AUTH__JWKS_URL": ("https://id.example/jwks", "auth.jwks_url", "https://id.example/jwks"),
    "DOORSTEP_AUTH__ISSUER": ("https://id.example", "auth.issuer", "https://id.example"),
    "DOORSTEP_AUTH__AUDIENCE": ("doorstep", "auth.audience", "doorstep"),
    "DOORSTEP_AUTH__ALLOW_QUERY_TOKEN": ("true", "auth.allow_query_token", True),
    "DOORSTEP_GATEWAY__HOST": ("0.0.0.0", "gateway.host", "0.0.0.0"),
    "DOORSTEP_GATEWAY__PORT": ("8001", "gateway.port", 8001),
    "DOORSTEP_GATEWAY__ALLOWED_ORIGINS": (
        "https://a.example",
        "gateway.allowed_origins",
        ("https://a.example",),
    ),
    "DOORSTEP_GATEWAY__PUBLIC_URL": (
        "wss://{node}.a.example/",
        "gateway.public_url",
        "wss://{node}.a.example",
    ),
    "DOORSTEP_HOLDERS": ("3", "holders", 3),
    "DOORSTEP_CONSUMERS": ("2", "consumers", 2),
    "DOORSTEP_HISTORY__MAX_COUNT": ("50", "history.max_count", 50),
    "DOORSTEP_HISTORY__TTL_S": ("60", "history.ttl_s", 60),
    "DOORSTEP_CONTEXT__PARK_TTL_S": ("30", "context.park_ttl_s", 30),
    "DOORSTEP_ROUTES": ("/etc/routes.toml", "routes", Path("/etc/routes.toml")),
    "DOORSTEP_RAY__ADDRESS": ("ray-head:6379", "ray.address", "ray-head:6379"),
}
PUBLIC_SECRETS = {
    "DOORSTEP_KAFKA__SASL_PASSWORD": "kafka.sasl_password",
    "DOORSTEP_KAFKA__SSL_PASSWORD": "kafka.ssl_password",
    "DOORSTEP_REDIS__URL": "redis.url",
    "DOORSTEP_AUTH__HS256_SECRET": "auth.hs256_secret",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith("DOORSTEP_"):
            monkeypatch.delenv(name)


def _value(settings: Settings, path: str) -> object:
    value: object = settings
    for part in path.split("."):
        value = getattr(value, part)
    return value


def _toml(directory: Path, text: str) -> Path:
    file = directory / "doorstep.toml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("variable", PUBLIC)
def test_public_variable(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    text, path, expected = PUBLIC[variable]
    assert _value(load_settings(), path) != expected
    monkeypatch.setenv(variable, text)
    assert _value(load_settings(), path) == expected
    assert unknown_environment(os.environ) == []


@pytest.mark.parametrize("variable", PUBLIC_SECRETS)
def test_secret_from_variable_and_from_file(
    variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "secret"
    file.write_text(f"{SECRET} from file \n")
    for name, value, expected in (
        (variable, SECRET, SECRET),
        (f"{variable}_FILE", str(file), f"{SECRET} from file "),
    ):
        with monkeypatch.context() as environment:
            environment.setenv(name, value)
            settings = load_settings()
            assert unknown_environment(os.environ) == []
        secret = _value(settings, PUBLIC_SECRETS[variable])
        assert isinstance(secret, SecretStr)
        assert secret.get_secret_value() == expected
        assert SECRET not in repr(settings)
        assert SECRET not in str(settings.model_dump())


def test_defaults_of_the_contract() -> None:
    settings = load_settings()
    assert settings.gateway.port == 8000
    assert settings.kafka.start == "earliest"
    assert settings.kafka.dead_letter_topic == "doorstep.dead-letter.v1"
    assert settings.history.max_count == 1000
    assert settings.history.ttl_s == 24 * 3600
    assert settings.context.park_ttl_s == 900
    assert settings.ray.address is None
    assert settings.routes.name == "routes.toml"


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        *(
            ("DOORSTEP_KAFKA__BOOTSTRAP_SERVERS", text)
            for text in ("http://kafka:9092", " , ", "kafka:99999")
        ),
        *(
            ("DOORSTEP_KAFKA__BOOTSTRAP_SERVERS", text)
            for text in ("kafka:x", "a:1,,b:2", "a b", "kafka:1/x")
        ),
        *(("DOORSTEP_GATEWAY__HOST", text) for text in ("not a host", "\xe5" * 80, "a" * 300, "http://a")),
        *(("DOORSTEP_ADMIN__HOST", text) for text in ("127.0.0.1/8", "\u2603")),
        ("DOORSTEP_KAFKA__DEAD_LETTER_TOPIC", "a b"),
        ("DOORSTEP_RECEIPTS__TOPIC", "a/b"),
        *(("DOORSTEP_DRAIN_S", text) for text in ("inf", "nan")),
        *(("DOORSTEP_GATEWAY__PING_INTERVAL_S", text) for text in ("inf", "nan", "1e999")),
        ("DOORSTEP_AUTH__EXPIRY_NOTICE_S", "inf"),
    ],
)
def test_what_no_server_and_no_timer_takes_is_refused(
    monkeypatch: pytest.MonkeyPatch, variable: str, text: str
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError, match=variable):
        load_settings()


@pytest.mark.parametrize(
    "text", ["kafka", "kafka:9092", "a:1, b:2", "[::1]:9092", "10.0.0.1:9092,kafka-1.kafka_2.svc:9093"]
)
def test_addresses_of_brokers(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("DOORSTEP_KAFKA__BOOTSTRAP_SERVERS", text)
    assert load_settings().kafka.bootstrap_servers == text


def test_later_source_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = _toml(
        tmp_path, 'holders = 2\nconsumers = 2\n[gateway]\nport = 1\nhost = "::1"\nholder_wait_s = 9\n'
    )
    monkeypatch.setenv("DOORSTEP_GATEWAY__PORT", "2")
    monkeypatch.setenv("DOORSTEP_GATEWAY__HOST", "127.0.0.2")
    monkeypatch.setenv("DOORSTEP_CONSUMERS", "4")
    settings = load_settings(file, gateway={"port": 3})
    assert (settings.gateway.port, settings.gateway.host, settings.gateway.holder_wait_s) == (
        3,
        "127.0.0.2",
        9,
    )
    assert (settings.holders, settings.consumers) == (2, 4)


def test_secret_of_a_later_source_wins_over_an_earlier_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "secret").write_text("from file")
    file = _toml(tmp_path, f'[auth]\nhs256_secret_file = "{tmp_path / "secret"}"\n')
    from_file = load_settings(file).auth.hs256_secret
    monkeypatch.setenv("DOORSTEP_AUTH__HS256_SECRET", "from environment")
    from_environment = load_settings(file).auth.hs256_secret
    assert from_file is not None
    assert from_environment is not None
    assert from_file.get_secret_value() == "from file"
    assert from_environment.get_secret_value() == "from environment"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://a.example,https://b.example", ("https://a.example", "https://b.example")),
        (" https://a.example , https://b.example, ", ("https://a.example", "https://b.example")),
        ('["https://a.example", "https://b.example"]', ("https://a.example", "https://b.example")),
        ("*", ("*",)),
        (
            "HTTPS://B\xfccher.example:443/, https://*.x.example",
            ("https://xn--bcher-kva.example", "https://*.x.example"),
        ),
        ("", ()),
    ],
)
def test_allowed_origins(text: str, expected: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORSTEP_GATEWAY__ALLOWED_ORIGINS", text)
    assert load_settings().gateway.allowed_origins == expected


def test_allowed_origins_in_toml(tmp_path: Path) -> None:
    file = _toml(tmp_path, '[gateway]\nallowed_origins = ["https://a.example"]\n')
    assert load_settings(file).gateway.allowed_origins == ("https://a.example",)


@pytest.mark.parametrize("url", ["redis://h:1/2", "rediss://u:p@h:1", "redis+sentinel://h:1/service"])
def test_redis_url(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORSTEP_REDIS__URL", url)
    assert load_settings().redis.url.get_secret_value() == url


def test_empty_variable_counts_as_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORSTEP_GATEWAY__PORT", "")
    monkeypatch.setenv("DOORSTEP_AUTH__JWKS_URL", "")
    assert load_settings() == Settings()


def test_settings_are_frozen_and_go_to_other_processes() -> None:
    settings = load_settings(holders=3)
    for section, name in ((settings, "holders"), (settings.gateway, "port")):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(section, name, 4)
    assert pickle.loads(pickle.dumps(settings)) == settings


@pytest.mark.parametrize(
    ("variable", "text", "expected"),
    [
        (
            "DOORSTEP_KAFKA__START",
            "middle",
            "kafka.start (DOORSTEP_KAFKA__START): Input should be 'earliest' or 'latest'",
        ),
        ("DOORSTEP_HOLDERS", "none", "holders (DOORSTEP_HOLDERS): Input should be a valid integer"),
        (
            "DOORSTEP_KAFKA__BOOTSTRAP_SERVER",
            "k",
            "kafka.bootstrap_server (DOORSTEP_KAFKA__BOOTSTRAP_SERVER): there is no such setting; "
            "did you mean kafka.bootstrap_servers?",
        ),
        (
            "DOORSTEP_GATEWAY__ALLOWED_ORIGINS",
            '["a"',
            "gateway.allowed_origins (DOORSTEP_GATEWAY__ALLOWED_ORIGINS)",
        ),
        (
            "DOORSTEP_GATEWAY__ALLOWED_ORIGINS",
            "https://a.example, b.example",
            'gateway.allowed_origins (DOORSTEP_GATEWAY__ALLOWED_ORIGINS): "b.example" is no origin',
        ),
        ("DOORSTEP_GATEWAY", "8000", "gateway (DOORSTEP_GATEWAY)"),
        ("DOORSTEP_GATEWAY", "not json", 'environment: error parsing value for field "gateway"'),
    ],
)
def test_error_names_setting_place_and_reason(
    variable: str, text: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, text)
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert str(caught.value).startswith(expected)


def test_error_says_which_source_was_wrong(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = _toml(tmp_path, 'holders = "x"\nwrong = 1\n[gateway]\nport = -1\n[history]\nttl_s = 0\n')
    monkeypatch.setenv("DOORSTEP_HISTORY__TTL_S", "0")
    with pytest.raises(SettingsError) as caught:
        load_settings(file, gateway={"port": -2})
    lines = str(caught.value).splitlines()
    places = {line.split(": ")[0] for line in lines}
    assert places == {
        "gateway.port (set by a flag)",
        "history.ttl_s (DOORSTEP_HISTORY__TTL_S)",
        f"holders (set in {file})",
        f"wrong (set in {file})",
    }


def test_error_never_shows_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORSTEP_AUTH__HS256_SECRETS", SECRET)
    monkeypatch.setenv("DOORSTEP_REDIS", f'{{"url": ["{SECRET}"]}}')
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "auth.hs256_secrets" in str(caught.value)
    assert "redis.url" in str(caught.value)
    shown = f"{caught.value!r} {caught.value.__cause__} {caught.value.__cause__!r}"
    assert SECRET not in shown


def test_secret_file_that_is_missing_empty_or_no_text(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "empty").write_text("\n")
    (tmp_path / "bytes").write_bytes(b"\xff" + SECRET.encode())
    for name, expected in (
        ("missing", "No such file"),
        ("empty", "is empty"),
        ("bytes", "UTF-8"),
        (".", "Is a directory"),
    ):
        monkeypatch.setenv("DOORSTEP_AUTH__HS256_SECRET_FILE", str(tmp_path / name))
        with pytest.raises(SettingsError, match=expected) as caught:
            load_settings()
        assert "auth.hs256_secret_file (DOORSTEP_AUTH__HS256_SECRET_FILE)" in str(caught.value)
        assert str(tmp_path / name) in str(caught.value)
        assert SECRET not in f"{caught.value!r} {caught.value.__cause__!r}"


def test_secret_and_its_file_in_one_source_are_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOORSTEP_AUTH__HS256_SECRET", SECRET)
    monkeypatch.setenv("DOORSTEP_AUTH__HS256_SECRET_FILE", str(tmp_path / "secret"))
    with pytest.raises(SettingsError, match="both set") as caught:
        load_settings()
    assert SECRET not in str(caught.value)


def test_file_that_is_missing_or_no_toml(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"missing\.toml can't be read \(No such file or directory\)"):
        load_settings(tmp_path / "missing.toml")
    file = _toml(tmp_path, "holders = \n")
    with pytest.raises(SettingsError, match=r"doorstep\.toml is no valid TOML: .*line 1"):
        load_settings(file)


def test_unknown_environment() -> None:
    environ = {
        "DOORSTEP_HOLDER": "1",
        "DOORSTEP_KAFKA_GROUP_ID": "single underscore",
        "doorstep_kafka__wrong": "1",
        "DOORSTEP_AUTH__ISSUER_FILE": "no secret",
        "DOORSTEP_KAFKA__GROUP_ID": "g",
        "doorstep_holders": "2",
        "DOORSTEP_KAFKA": "{}",
        "DOORSTEP_AUTH__HS256_SECRET_FILE": "/f",
        "PATH": "/bin",
    }
    assert unknown_environment(environ) == [
        "DOORSTEP_AUTH__ISSUER_FILE",
        "DOORSTEP_HOLDER",
        "DOORSTEP_KAFKA_GROUP_ID",
        "doorstep_kafka__wrong",
    ]

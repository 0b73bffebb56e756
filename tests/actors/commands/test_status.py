"""What a person is told of a running service."""

import json
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from doorstep.actors.commands import status
from doorstep.actors.commands.status import table
from doorstep.actors.commands.verbs import app
from doorstep.development.ports import free_port
from tests.actors.commands.admin_port import AdminPort

TOLD = {
    "ok": False,
    "spec": {
        "generation": 4,
        "version": "1.0",
        "holders": 2,
        "consumers": 1,
        "draining": {"aa11": "2026-11-28T08:02:00.000+00:00"},
    },
    "troubles": [
        {"actor": "consumer-0", "what": "kafka", "state": "open", "since": "then", "reason": "no broker"},
        {"actor": "holder-1@aa11", "what": "actor", "state": "unreachable", "since": "then", "reason": None},
    ],
    "actors": {
        "consumer-0": {
            "state": "running",
            "since": "then",
            "partitions": ["t/0", "t/1"],
            "lag": {"t/0": 2, "t/1": 5},
            "parked": 3,
            "dead_letters": {"oversized": 1, "invalid_json": 1},
            "servers": {"redis": {"state": "closed"}, "kafka": {"state": "open"}},
            "process": {"node": "aa11", "restarts": 1},
        },
        "holder-1@aa11": {"state": "unreachable", "since": "then", "reason": "no answer within 1 s"},
    },
}


def test_people_are_told_what_is_wanted_who_is_there_and_what_is_wrong() -> None:
    assert list(table(TOLD)) == [
        "generation 4, version 1.0: 2 holders on each node, 1 consumer, aa11 drained by "
        "2026-11-28T08:02:00.000+00:00",
        "",
        "actor          node  state        since  restarts  details",
        "consumer-0     aa11  running      then   1         partitions=2 lag=7 parked=3 dead_letters=2 "
        "redis=closed kafka=open",
        "holder-1@aa11        unreachable  then             reason=no answer within 1 s",
        "",
        "what is wrong:",
        "  consumer-0: kafka open since then: no broker",
        "  holder-1@aa11: actor unreachable since then",
    ]


@pytest.fixture
def running() -> Iterator[AdminPort]:
    port = AdminPort(json.dumps(TOLD).encode())
    yield port
    port.stop()


@pytest.mark.parametrize("url", ["{}", "http://{}", "http://{}/"])
def test_its_address_needs_no_scheme(running: AdminPort, url: str) -> None:
    result = CliRunner().invoke(app, ["status", "--url", url.format(running.address)])
    assert result.exit_code == 1
    assert "consumer-0: kafka open" in result.stdout


@pytest.mark.parametrize("path", ["", "/elsewhere"])
def test_whoever_is_no_admin_port_is_told_as_that(path: str) -> None:
    other = AdminPort(b'"well"')
    result = CliRunner().invoke(app, ["status", "--url", f"{other.address}{path}"])
    other.stop()
    assert result.exit_code == 2
    assert f"http://{other.address}{path}/status: " in result.stderr
    assert "ask the admin port of a gateway (DOORSTEP_ADMIN__HOST and __PORT" in result.stderr


def test_who_watches_is_told_that_nobody_answers_and_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    port, pauses = free_port(), 0
    servers: list[AdminPort] = []

    def pause(_: float) -> None:
        nonlocal pauses
        pauses += 1
        if pauses == 1:
            servers.append(AdminPort(json.dumps(TOLD).encode(), port))
        elif pauses == 2:
            servers.pop().stop()
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(status, "time", SimpleNamespace(sleep=pause))
    result = CliRunner().invoke(app, ["status", "--watch", "--url", f"127.0.0.1:{port}"], color=True)
    screens = result.stdout.split(status._CLEAR)[1:]
    assert ["Connection refused" in screen for screen in screens] == [True, False, True]
    assert "what is wrong" in screens[1]

"""`doorstep dead`, on a real Kafka, for events that came before anybody knew whose they are."""

import asyncio
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from doorstep.actors.commands.verbs import app
from tests.actors.consuming.consumer_world import World, essays

_FILE = """
[kafka]
bootstrap_servers = "{bootstrap}"
dead_letter_topic = "{topic}"
"""


@pytest.fixture
def config(world: World, tmp_path: Path) -> Path:
    file = tmp_path / "doorstep.toml"
    file.write_text(_FILE.format(bootstrap=world.kafka.bootstrap, topic=world.dead))
    return file


async def dead(config: Path, *arguments: str) -> Result:
    command = ["dead", arguments[0], "--config", str(config), *arguments[1:]]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def test_what_was_too_early_is_replayed_once_it_can_be_delivered(world: World, config: Path) -> None:
    batch, user = world.names.batch(), world.names.user()
    async with world.consumer(context={"park_ttl_s": 1}) as consumer:
        world.publisher.send_all([world.slot(batch, "essay-1"), world.slot(batch, "essay-2")])
        world.produce(world.notifications, b"no JSON")
        await world.dead_letters(3)
        world.publisher.send_all([world.registration(batch, user)])

        async def registered() -> bool:
            return await world.counted(consumer, "registered", "new") == 1

        await world.until(registered, "the batch is registered")
        listed = await dead(config, "list", "--json")
        told = [json.loads(line) for line in listed.stdout.splitlines()]
        assert sorted(each["reason"] for each in told) == [
            "context_timeout",
            "context_timeout",
            "invalid_json",
        ]
        assert "context_timeout 2, invalid_json 1" in listed.stderr

        dry = await dead(config, "replay", "--reason", "context_timeout")
        assert dry.exit_code == 0
        assert "2 of 2 would be replayed" in dry.stderr
        assert await world.log(user) == []

        done = await dead(config, "replay", "--reason", "context_timeout", "--topic", world.slots, "--apply")
        assert done.exit_code == 0
        assert sorted(essays(await world.logged(user, 2))) == ["essay-1", "essay-2"]


async def test_one_is_shown_whole(world: World, config: Path) -> None:
    async with world.consumer():
        world.produce(world.notifications, b"no JSON \xff", b"its key", headers=[("trace", b"t-1")])
        (letter,) = await world.dead_letters(1)
    (summary,) = (await dead(config, "list", "--json")).stdout.splitlines()
    shown = json.loads((await dead(config, "show", json.loads(summary)["place"])).stdout)
    assert shown["value"] == "no JSON \\xff"
    assert shown["key"] == "its key"
    assert shown["headers"]["trace"] == "t-1"
    assert shown["error"]["error_code"] == "INVALID_JSON"
    assert shown["source"] == letter.source


async def test_a_wrong_place_or_time_is_named(config: Path) -> None:
    nowhere = await dead(config, "show", "0/99")
    assert nowhere.exit_code == 2
    assert "0/99" in nowhere.stderr
    timeless = await dead(config, "list", "--since", "yesterday")
    assert timeless.exit_code == 2
    assert "30m" in timeless.stderr


@pytest.mark.parametrize("command", [["list"], ["replay", "--apply"]])
async def test_a_reason_that_no_letter_has_is_refused_with_those_there_are(
    config: Path, command: list[str]
) -> None:
    wrong = await dead(config, *command, "--reason", "context_timeouts")
    assert wrong.exit_code == 2
    assert "context_conflict" in wrong.stderr

"""Every task that an actor has for good: an exception in it is not survived in silence."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Protocol

import pytest

from doorstep.actors.consuming import consumer as consumer_module
from doorstep.actors.consuming.assignment import Assignment
from doorstep.actors.consuming.committer import Committer
from doorstep.actors.consuming.consumer import Consumer
from doorstep.actors.consuming.membership import Membership
from doorstep.actors.consuming.pending_letters import PendingLetters
from doorstep.actors.consuming.sweeper import Sweeper
from doorstep.actors.control.autoscaler import Autoscaler
from doorstep.actors.control.canary import Canary
from doorstep.actors.control.fleet import Fleet
from doorstep.actors.control.gateway_actor import Gateway
from doorstep.actors.control.spec_watch import SpecKeeper, SpecWatch, write_spec
from doorstep.actors.control.supervisor import Supervisor
from doorstep.actors.holding.audit import Audit
from doorstep.actors.holding.catch_up import CatchUp
from doorstep.actors.holding.holder import Holder
from doorstep.actors.holding.read_marks import ReadMarks
from doorstep.actors.holding.receipts import Receipts
from doorstep.actors.kafka.group_consumer import GroupConsumer
from doorstep.actors.placement.cell import HERE, Cell
from doorstep.actors.placement.run_directory import RunDirectory
from doorstep.actors.placement.spec import Spec
from doorstep.actors.runtime.logging import configure_logs
from doorstep.actors.store.feed import Feed
from doorstep.actors.store.redis.connection import connect
from doorstep.actors.store.spec_record import wanted_by
from doorstep.actors.store.stamp import Stamp
from doorstep.config.settings import Settings, load_settings
from doorstep.gateway.handover import Receiver
from doorstep.gateway.port import PublicPort
from tests.actors.consuming.consumer_world import World
from tests.support.servers import ValkeyServer
from tests.support.service import SECRET
from tests.support.waiting import until


class Actor(Protocol):
    """As much of an actor as there is to stop."""

    async def stop(self, within_s: float) -> None: ...


class _NoFleet(Fleet):
    """Has no Ray."""

    async def reconcile(self, spec: Spec) -> bool:
        return False


def holder(settings: Settings, run: RunDirectory) -> Actor:
    return Holder("holder-0", settings, Cell.of(HERE, 1), run)


def consumer(settings: Settings, _: RunDirectory) -> Actor:
    return Consumer("consumer-0", settings, "consumer-0")


def gateway(settings: Settings, run: RunDirectory) -> Actor:
    return Gateway(settings, HERE, run)


def supervisor(settings: Settings, run: RunDirectory) -> Actor:
    fleet = _NoFleet(settings, run, lambda *_: None)
    return Supervisor(settings, run, fleet, Autoscaler(settings, lambda: fleet.names))


async def _raise(*_: object) -> None:
    raise LookupError("injected")


@pytest.mark.parametrize(
    ("start", "owner", "method"),
    [
        (holder, Receiver, "start"),
        (holder, Feed, "_keep_subscribed"),
        (holder, Feed, "_keep_alive"),
        (holder, Audit, "_settle_doubts"),
        (holder, Audit, "_look_around"),
        (holder, CatchUp, "run"),
        (holder, Receipts, "run"),
        (holder, ReadMarks, "run"),
        (consumer, Sweeper, "run"),
        (consumer, Consumer, "_consume"),
        (gateway, PublicPort, "start"),
        (gateway, SpecWatch, "look"),
        (gateway, Gateway, "_heed_draining"),
        (gateway, Gateway, "_look_regularly"),
        (gateway, Gateway, "_watch_control_plane"),
        (gateway, Canary, "run"),
        (supervisor, SpecKeeper, "look"),
        (supervisor, Supervisor, "_reconcile_forever"),
        (supervisor, Autoscaler, "run"),
    ],
)
async def test_an_actor_dies_with_any_of_its_tasks(
    *,
    start: Callable[[Settings, RunDirectory], Actor],
    owner: type,
    method: str,
    valkey: ValkeyServer,
    run_dir: Path,
    monkeypatch: pytest.MonkeyPatch,
    deaths: list[str],
    capfd: pytest.CaptureFixture[str],
) -> None:
    settings = load_settings(
        None,
        redis={"url": valkey.url},
        auth={"hs256_secret": SECRET},
        gateway={"port": 0},
        admin={"port": 0},
        canary={"interval_s": 60},
    )
    configure_logs(settings, "tests")
    connection = connect(settings.redis)
    await Stamp(connection).ensure()  # where a store has none, a consumer asks Kafka, which is not there
    await connection.close()
    monkeypatch.setattr(owner, method, _raise)
    run = RunDirectory(run_dir)
    write_spec(run, wanted_by(settings, "here"))
    actor = start(settings, run)
    await until(lambda: deaths)
    assert "LookupError: injected" in "".join(capfd.readouterr())
    await actor.stop(5)
    deaths.clear()


_OF_A_MEMBERSHIP = (
    (GroupConsumer, "run"),
    (Membership, "_beat"),
    (Membership, "_watch_redis"),
    (Membership, "_watch_kafka"),
    (Assignment, "_settle"),
    (Assignment, "_work"),
    (PendingLetters, "run"),
    (Committer, "run"),
)


async def test_a_consumer_begins_anew_after_a_fault_in_any_task_of_its_membership(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    sound: list[str] = []

    def fails_once(owner: type, method: str) -> Callable[..., Awaitable[None]]:
        work: Callable[..., Awaitable[None]] = getattr(owner, method)
        name = f"{owner.__name__}.{method}"

        async def fail(*arguments: Any) -> None:
            if name not in sound:
                sound.append(name)
                raise LookupError(f"injected into {name}")
            await work(*arguments)

        return fail

    configure_logs(world.settings(), "tests")
    monkeypatch.setattr(consumer_module, "_AFTER_A_FAULT_S", 0.05)
    for owner, method in _OF_A_MEMBERSHIP:
        monkeypatch.setattr(owner, method, fails_once(owner, method))
    told = ""

    def missing() -> list[str]:
        nonlocal told
        told += "".join(capfd.readouterr())
        names = [f"{owner.__name__}.{method}" for owner, method in _OF_A_MEMBERSHIP]
        return [name for name in names if f"injected into {name}" not in told]

    async with world.consumer():
        await until(lambda: missing() == [])

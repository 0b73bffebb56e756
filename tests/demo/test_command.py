"""`doorstep demo` from end to end: everything arrives, and nothing is left when it ends."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from tests.conftest import KafkaFactory, ValkeyFactory
from tests.demo.command import START_S, STOP_S, DemoCommand

Command = Callable[..., DemoCommand]


@pytest.fixture
def command(tmp_path: Path) -> Iterator[Command]:
    """Makes the command with these arguments and variables; nothing of it outlives the test."""
    with ExitStack() as stack:

        def make(*arguments: str, **environment: str) -> DemoCommand:
            return stack.enter_context(closing(DemoCommand(tmp_path, *arguments, **environment)))

        yield make


def assert_check_passes(demo: DemoCommand) -> None:
    demo.process.start()
    status = demo.process.wait(START_S)
    output = demo.process.output(200)
    assert status == 0, output
    assert "OK    nothing missing" in output
    total = next(line for line in output.splitlines() if line.startswith("all "))
    assert total.split()[:5] == ["all", "93", "4", "120", "4"]
    assert demo.survivors() == []


@pytest.mark.alone
def test_the_check_passes_on_the_embedded_servers(command: Command) -> None:
    assert_check_passes(command("--check"))


@pytest.mark.alone
def test_the_check_passes_on_a_real_kafka_and_valkey(
    command: Command, kafka_factory: KafkaFactory, valkey_factory: ValkeyFactory
) -> None:
    servers = {
        "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": kafka_factory().bootstrap,
        "DOORSTEP_REDIS__URL": valkey_factory().url,
    }
    assert_check_passes(command("--check", **servers))


def test_ctrl_c_ends_all_of_it(command: Command) -> None:
    demo = command()
    demo.start()
    assert len(demo.members()) > 5
    status, took_s = demo.end(signal.SIGINT)
    assert (status, demo.survivors()) == (0, [])
    assert took_s < STOP_S


@pytest.mark.parametrize("after_s", [0.0, 5.0])
def test_sigterm_while_it_starts_ends_all_of_it(command: Command, after_s: float) -> None:
    """However long that takes: the start of Ray itself cannot be interrupted."""
    demo = command()
    demo.process.start()
    demo.process.wait_until(lambda: "starting" in demo.process.output(), what="the demo", timeout_s=START_S)
    time.sleep(after_s)
    status, _ = demo.end(signal.SIGTERM, within_s=150)
    assert (status, demo.survivors()) == (0, [])


@pytest.mark.parametrize(
    ("setting", "value", "said"),
    [
        ("DOORSTEP_AUTH__HS256_SECRET", "short", "DOORSTEP_AUTH__HS256_SECRET has 5 bytes"),
        ("DOORSTEP_KAFKA__LINGER_MS", "many", "DOORSTEP_KAFKA__LINGER_MS"),
    ],
)
def test_a_setup_that_cannot_work_is_told_in_a_line(
    command: Command, setting: str, value: str, said: str
) -> None:
    demo = command(**{setting: value})
    demo.process.start()
    assert demo.process.wait(60) == 2
    assert said in demo.process.output()
    assert "Traceback" not in demo.process.output()

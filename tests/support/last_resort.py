"""Ends the process of a test that its timeout could not end, after the stacks of all its threads are printed.

A timeout raises in the main thread. uvloop logs that and goes on, a callback or a task may keep it, a call
of C does not see it, and what is cleaned up afterwards has no timeout at all. pytest-xdist names the test
whose process has ended, and goes on with another process.
"""

import faulthandler
import os
from collections.abc import Generator
from typing import Any

import pytest
from pytest_timeout import is_debugging

GRACE_S = 60.0
"""So much later than the timeout."""

_stderr = pytest.StashKey[int]()
_limit_s = pytest.StashKey[float]()


def pytest_configure(config: pytest.Config) -> None:
    """While tests run, what they write to stderr is captured."""
    config.stash[_stderr] = os.dup(2)


@pytest.hookimpl(wrapper=True, optionalhook=True)
def pytest_timeout_set_timer(item: pytest.Item, settings: Any) -> Generator[None, object, object]:
    item.stash[_limit_s] = settings.timeout + GRACE_S
    _set(item)
    return (yield)


@pytest.hookimpl(trylast=True)
def pytest_exception_interact(node: pytest.Item | pytest.Collector) -> None:
    """Where pytest takes timers away: but there is more to come, the fixtures' ends."""
    if isinstance(node, pytest.Item):
        _set(node)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        faulthandler.cancel_dump_traceback_later()


def _set(item: pytest.Item) -> None:
    limit_s = item.stash.get(_limit_s, None)
    if limit_s is not None and not is_debugging():
        faulthandler.dump_traceback_later(limit_s, exit=True, file=item.config.stash[_stderr])

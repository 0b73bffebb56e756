"""Hands out modules to the processes of pytest-xdist, also where one of them has ended within a test.

pytest-xdist 3.8 would begin with that test again. And it hands out one module and waits until a test is done,
where a process begins with its last test only when it knows the next, or that there is none.
"""

from functools import cache
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from tests.support.order import next_scope, scope_of


def scheduler_of(config: pytest.Config, log: object) -> Any:
    """One that gives each process a scope at a time. Not xdist's groups, which pytest 9.2 does not see."""
    scheduler = LoadFileScheduling(config, log)
    assign, remove, reschedule = scheduler._assign_work_unit, scheduler.remove_node, scheduler._reschedule

    def assign_next(node: Any) -> None:
        scopes = [*scheduler.workqueue]
        patient = {scope for scope in scopes if _is_patient(config.rootpath / scope)}
        scope = next_scope(node.gateway.id, scopes, patient)
        if scope is None:
            node.shutdown()
            return
        scheduler.workqueue.move_to_end(scope, last=False)
        assign(node)
        if scheduler._pending_of(scheduler.assigned_work[node]) < 2:
            scheduler._reschedule(node)

    def reschedule_if_ready(node: Any) -> None:
        """One that has yet to find the tests is given some when it has."""
        if node in scheduler.registered_collections:
            reschedule(node)

    def remove_with_its_test(node: Any) -> str | None:
        """The test that was running has failed, and what came after it is for others."""
        scopes = scheduler.assigned_work[node].values()
        unfinished = [(tests, test) for tests in scopes for test in tests if not tests[test]]
        for tests, test in unfinished[:1]:
            tests[test] = True
        remove(node)
        return unfinished[0][1] if unfinished else None

    scheduler._split_scope, scheduler._assign_work_unit = scope_of, assign_next
    scheduler._reschedule, scheduler.remove_node = reschedule_if_ready, remove_with_its_test
    return scheduler


@cache
def _is_patient(module: Path) -> bool:
    """Read, as the process that hands out modules does not import them."""
    return module.is_file() and "\npytestmark = pytest.mark.patient\n" in module.read_text()

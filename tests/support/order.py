"""Which tests stay together, and their order: the longest first, so that all processes end at once."""

import os
from collections.abc import Collection, Sequence
from pathlib import PurePosixPath

_LONGEST_FIRST = ("alone", "ray", "browser", "kafka", "fuzz", "slow")
_BUILT = "frontend"
_FROM_THE_FRONT = ("gw0", "gw1")
_PATIENT = "gw3"


def is_patient() -> bool:
    """Whether this is the process that gives way to all others, and waits for no turn."""
    return os.environ.get("PYTEST_XDIST_WORKER") == _PATIENT


def place_of(path: str, markers: Collection[str]) -> int:
    """The lower, the earlier a module runs whose tests have these markers. The seams first: what they find
    explains the rest."""
    if path.endswith("test_seams.py"):
        return -1
    return next((at for at, marker in enumerate(_LONGEST_FIRST) if marker in markers), len(_LONGEST_FIRST))


def scope_of(nodeid: str) -> str:
    """What stays with one process: a module, so that its fixtures are set up once, and all of the front end,
    which is built for them."""
    module = PurePosixPath(nodeid.partition("::")[0])
    return str(module.parent if module.parent.name == _BUILT else module)


def next_scope(process: str, scopes: Sequence[str], patient: Collection[str]) -> str | None:
    """What of the rest a process runs next. Two take the longest first. One runs only what is patient, and
    then ends. All others begin at the other end, so that a core that waits has work, and no three start a Ray
    or a browser."""
    if process == _PATIENT:
        return next((scope for scope in scopes if scope in patient), None)
    others = [scope for scope in scopes if scope not in patient] or scopes
    return others[0 if process in _FROM_THE_FRONT else -1]

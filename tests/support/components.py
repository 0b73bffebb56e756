"""Which real parts the tests ran on, and which were missing: printed when the run ends."""

from typing import NoReturn

import pytest

used: dict[str, str] = {}
"""Name of each real component a test has used -> its version."""

missing_parts: dict[str, str] = {}
"""Name of each component that was not found -> how to get it."""


def missing(name: str, remedy: str) -> NoReturn:
    """Skip the test because a component is not on this machine. Where `CI=true` that is a failure."""
    missing_parts[name] = remedy
    pytest.skip(f"{name} is missing; {remedy}")

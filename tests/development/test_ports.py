"""Ports for servers that are started later."""

import random
import subprocess
import sys

import pytest

from doorstep.development.ports import free_port

OTHER = "from doorstep.development.ports import free_port; print(free_port(), flush=True); input()"


def test_what_another_process_was_given_is_not_free_before_that_has_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though nobody listens there yet."""
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline())
        monkeypatch.setattr(random, "sample", lambda *_, **__: [port])
        with pytest.raises(RuntimeError, match="no free port"):
            free_port()
        other.communicate("\n")
    assert free_port() == port

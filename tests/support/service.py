"""The whole of Doorstep as its users run it: `doorstep serve` as a process, with its own Ray."""

import copy
import json
import os
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from http.client import HTTPException
from pathlib import Path
from typing import Any

import psutil
from pydantic import SecretStr

from doorstep.config.settings import AuthSettings
from doorstep.development.ports import free_port
from doorstep.development.processes import ServerProcess
from doorstep.gateway.signer import Signer
from tests.support.waiting import PATIENCE_S

SECRET = "a secret of the tests, long enough for HS256"
_DOORSTEP = str(Path(sys.executable).with_name("doorstep"))
_START_S = 120.0


def token_for(user_id: str, ttl_s: float = 3600, claims: Mapping[str, object] | None = None) -> str:
    """A token as an identity provider would sign it, with more `claims` than the usual two."""
    return Signer(AuthSettings(hs256_secret=SecretStr(SECRET))).sign(user_id, ttl_s, **(claims or {}))


def is_called(process: psutil.Process, name: str) -> bool:
    """Whether that is its name or title. An actor is `ray::HolderProcess.report` while it does that, and
    who has ended meanwhile has no name any more."""
    try:
        return name in (process.name(), *(title.partition(".")[0] for title in process.cmdline()[:1]))
    except psutil.Error:
        return False


class Service:
    """A running `doorstep serve`."""

    def __init__(self, directory: Path, kafka: str, redis: str, group: str, env: Mapping[str, str]) -> None:
        """`env`: more settings, by their environment names."""
        self.port = free_port()
        self.admin_port = free_port()
        self._env = {
            "DOORSTEP_KAFKA__BOOTSTRAP_SERVERS": kafka,
            "DOORSTEP_KAFKA__GROUP_ID": group,
            "DOORSTEP_REDIS__URL": redis,
            "DOORSTEP_AUTH__HS256_SECRET": SECRET,
            "DOORSTEP_GATEWAY__PORT": str(self.port),
            "DOORSTEP_ADMIN__PORT": str(self.admin_port),
            **env,
        }
        self.process = ServerProcess([_DOORSTEP, "serve"], log=directory / "doorstep.log", env=self._env)

    def changed(self, *arguments: str, **env: str) -> "Service":
        """A second `serve` like this one, with these settings and arguments besides, and a log of its own."""
        other = copy.copy(self)
        other._env = {**self._env, **env}
        log = self.process.log.with_name(f"changed{''.join(arguments)}.log")
        other.process = ServerProcess([*self.process.command, *arguments], log=log, env=other._env)
        return other

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another `doorstep` command with its settings, until that ends."""
        env = {**os.environ, **self._env}
        return subprocess.run([_DOORSTEP, *arguments], env=env, capture_output=True, text=True, check=False)

    @property
    def address(self) -> str:
        """`host:port` of the public port."""
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it; returns when it is ready."""
        self.process.start()
        self.process.wait_until(self.is_ready, what="doorstep serve", timeout_s=_START_S)

    def stop(self, within_s: float = 15) -> int | None:
        """End it by SIGTERM; its exit status."""
        return self.process.stop(within_s)

    def is_ready(self) -> bool:
        """Whether all is well with it."""
        return bool(self.status().get("ok"))

    def status(self) -> dict[str, Any]:
        """What `/status` says; empty when nobody answers."""
        try:
            return dict(json.loads(self.ask("/status")))
        except (OSError, HTTPException):
            return {}

    def troubles(self) -> dict[tuple[str, str], dict[str, Any]]:
        """What `/status` says is wrong, by actor and what it is."""
        return {(each["actor"], each["what"]): each for each in self.status().get("troubles", ())}

    def ask(self, path: str) -> bytes:
        """The body of an answer of the admin port."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def probe(self, path: str) -> int:
        """The status of an answer of the admin port."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.admin_port}{path}", timeout=10) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as refusal:
            return refusal.code

    def get(self, path: str) -> bytes:
        """The body of an answer of the public port."""
        with urllib.request.urlopen(f"http://{self.address}{path}", timeout=10) as answer:
            return bytes(answer.read())

    def actors(self, kind: str) -> list[psutil.Process]:
        """The processes of the actors of a class (`Holder`, `Consumer`, …), the oldest first."""
        mine = [each for each in self.family() if is_called(each, f"ray::{kind}Process")]
        return sorted(mine, key=lambda process: process.create_time())

    def family(self) -> list[psutil.Process]:
        """Every process of it."""
        serve = psutil.Process(self.process.pid)
        return [serve, *serve.children(recursive=True)]

    def member(self, name: str) -> psutil.Process:
        """The process of that name: `raylet`, `gcs_server`."""
        return next(each for each in self.family() if is_called(each, name))

    def kill(self, kind: str, which: int = 0) -> None:
        """SIGKILL to one of the actors."""
        os.kill(self.actors(kind)[which].pid, signal.SIGKILL)

    def wait_until_ready(self) -> None:
        """Wait until all is well with it."""
        self.wait_until(self.is_ready, "doorstep serve")

    def wait_until(self, holds: Callable[[], object], what: str) -> None:
        """Wait for `what`. Raises `ServerError` if it does not hold in time, or `serve` ends."""
        self.process.wait_until(lambda: bool(holds()), what=what, timeout_s=PATIENCE_S)

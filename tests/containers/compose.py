"""`deploy/compose.yaml` as a test runs it: the image of this checkout, a port of its own, gone afterwards."""

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from doorstep.development.ports import free_port

ROOT = Path(__file__).parents[2]
IMAGE = "doorstep-test"
START_TIMEOUT_S = 150.0


class DockerError(Exception):
    """A Docker command failed; the message has what it printed."""


def run(*command: str, env: dict[str, str] | None = None) -> str:
    """What the command printed to standard output. Raises `DockerError` if it fails."""
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise DockerError(f"{' '.join(command)} ended with {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def build_image() -> None:
    """Build `IMAGE` from deploy/Dockerfile, with this machine's way to the package index."""
    run(
        "docker", "build", "--network", "host", "--file", "deploy/Dockerfile", "--tag", IMAGE,
        "--build-arg", f"PYTHON_IMAGE={os.environ['PYTHON_IMAGE']}",
        *_secret("pip", os.environ.get("PIP_CONFIG_FILE"), "~/.config/pip/pip.conf", "/etc/pip.conf"),
        *_secret("ca", os.environ.get("PIP_CERT"), os.environ.get("SSL_CERT_FILE")),
        ".",
    )  # fmt: skip


def _secret(name: str, *places: str | None) -> Iterator[str]:
    found = [path for path in (Path(place).expanduser() for place in places if place) if path.is_file()]
    if found:
        yield from ("--secret", f"id={name},src={found[0]}")


class Deployment:
    """Kafka, Valkey and Doorstep in containers. Every method raises `DockerError` for what Docker refuses."""

    def __init__(self) -> None:
        self.port = free_port()
        self._command = (*_compose(), "--file", "deploy/compose.yaml", "--project-name", "doorstep-test")
        self._env = os.environ | {
            "DOORSTEP_IMAGE": IMAGE,
            "DOORSTEP_PUBLISH": f"127.0.0.1:{self.port}",
            "DOORSTEP_AUTH__HS256_SECRET": "the container tests sign with this",
            "VALKEY_PASSWORD": "container-tests",
        }

    def compose(self, *arguments: str) -> str:
        """Run a command of compose; returns its standard output."""
        return run(*self._command, *arguments, env=self._env)

    def up(self) -> None:
        """Start everything; returns when all are healthy. Raises `TimeoutError` with the logs."""
        self.compose("up", "--detach", "--no-build")
        deadline = time.monotonic() + START_TIMEOUT_S
        while self.state("doorstep")["Health"]["Status"] != "healthy":
            if time.monotonic() > deadline:
                raise TimeoutError(f"not healthy after {START_TIMEOUT_S:g} s\n{self.logs()}")
            time.sleep(0.3)

    def down(self) -> None:
        """Remove containers, network and volumes."""
        self.compose("down", "--volumes")

    def doorstep(self, *arguments: str) -> str:
        """Run the `doorstep` command inside its container; returns its standard output."""
        return self.inside("doorstep", "doorstep", *arguments)

    def inside(self, service: str, *command: str) -> str:
        """Run a command in the container of a service, as the user the container runs as."""
        return self.compose("exec", "-T", service, *command)

    def container(self, service: str) -> str:
        """The id of the service's container, also of one that has ended."""
        return self.compose("ps", "--all", "--quiet", service).strip()

    def state(self, service: str) -> dict[str, Any]:
        """What Docker reports as `State` of the service's container."""
        state: dict[str, Any] = json.loads(
            run("docker", "inspect", "--format", "{{json .State}}", self.container(service))
        )
        return state

    def logs(self) -> str:
        """The last lines that each service wrote."""
        return self.compose("logs", "--no-color", "--tail", "60")


def _compose() -> tuple[str, ...]:
    """Compose as a plugin of Docker, or as the older command of its own."""
    try:
        run("docker", "compose", "version")
    except DockerError:
        return ("docker-compose",)
    return ("docker", "compose")

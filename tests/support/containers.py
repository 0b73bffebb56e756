"""Kafka and Valkey as containers (testcontainers), behind the interface of the process-based servers.

Data lives in the container: it survives `stop` and `start`, and goes when the run ends.
"""

import atexit
import contextlib
import os
import time
from collections.abc import Callable, Mapping

import redis
from testcontainers.core.container import DockerContainer

from doorstep.development.kafka import ONE_NODE, create_topic, serves
from doorstep.development.ports import free_port
from tests.support.kafka import PROPERTIES

START_TIMEOUT_S = 60.0


def containers_wanted() -> bool:
    """Whether the tests are to use containers: `DOORSTEP_TEST_CONTAINERS=1`."""
    return os.environ.get("DOORSTEP_TEST_CONTAINERS") == "1"


class ServerContainer:
    """A container that starts again with its data on its port, and does not outlive the test run."""

    def __init__(self, container: DockerContainer) -> None:
        self._container = container
        self._created = False

    @property
    def running(self) -> bool:
        """Whether Docker says that it runs."""
        if not self._created:
            return False
        self._container.reload()
        return self._container.status == "running"

    def start(self) -> None:
        """Start it; a running one is left alone."""
        if self.running:
            return
        if self._created:
            self._container.get_wrapped_container().start()
            return
        # Ryuk, who would clean up after a run that crashed, is off where his image can't be pulled.
        atexit.register(self._container.stop)
        self._container.start()
        self._created = True

    def stop(self, *, kill: bool) -> None:
        """End it by SIGTERM (after 15 s SIGKILL), or by SIGKILL where `kill`; returns when it has ended."""
        if not self.running:
            return
        if kill:
            self._container.get_wrapped_container().kill()
            self._container.get_wrapped_container().wait()
        else:
            self._container.get_wrapped_container().stop(timeout=15)

    def wait_until(self, ready: Callable[[], bool], *, what: str) -> None:
        """Poll `ready` until it holds. Raises `TimeoutError`, with the end of the log, after a minute or when
        the container has ended."""
        deadline = time.monotonic() + START_TIMEOUT_S
        while not ready():
            if time.monotonic() > deadline or not self.running:
                log = b"".join(self._container.get_logs())[-4000:].decode(errors="replace")
                raise TimeoutError(f"{what} is not ready, or has ended\n{log}")
            time.sleep(0.05)


class ContainerKafka:
    """`KafkaServer` in a container of the image `KAFKA_IMAGE` (default: apache/kafka)."""

    def __init__(self, properties: Mapping[str, str] | None = None) -> None:
        """`properties`: broker settings over the usual ones of the tests."""
        self._port = free_port()
        self._image = os.environ.get("KAFKA_IMAGE", "apache/kafka:4.3.1")
        settings = {
            **ONE_NODE,
            **PROPERTIES,
            # The same port inside and outside: the broker also talks to itself at the address it advertises.
            "listeners": f"PLAINTEXT://:{self._port},CONTROLLER://:9093",
            "advertised.listeners": f"PLAINTEXT://{self.bootstrap}",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "controller.quorum.voters": "1@localhost:9093",
            "log.dirs": "/var/lib/kafka/data",
            **(properties or {}),
        }
        variables = {f"KAFKA_{name.replace('.', '_').upper()}": value for name, value in settings.items()}
        container = DockerContainer(self._image, env={"CLUSTER_ID": "ZG9vcnN0ZXAtLS0tdGVzdA", **variables})
        self._server = ServerContainer(container.with_bind_ports(self._port, self._port))

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def version(self) -> str:
        return f"container of {self._image}"

    def start(self) -> None:
        self._server.start()
        self._server.wait_until(lambda: serves(self.bootstrap), what=f"Kafka at {self.bootstrap}")

    def stop(self, *, kill: bool = False) -> None:
        self._server.stop(kill=kill)

    def create_topic(self, name: str, *, partitions: int = 1) -> None:
        create_topic(self.bootstrap, name, partitions)


class ContainerValkey:
    """`ValkeyServer` in a container of the image `VALKEY_IMAGE` (default: valkey/valkey)."""

    def __init__(self, options: Mapping[str, str] | None = None) -> None:
        """`options`: configuration directives over the usual ones of the tests."""
        self._port = free_port()
        self._image = os.environ.get("VALKEY_IMAGE", "valkey/valkey:9.1")
        settings = {"appendonly": "yes", "save": "", "protected-mode": "no"} | dict(options or {})
        command = [
            "valkey-server",
            *(part for name, value in settings.items() for part in (f"--{name}", value)),
        ]
        container = DockerContainer(self._image).with_command(command)
        self._server = ServerContainer(container.with_bind_ports(6379, self._port))

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self._port}"

    @property
    def version(self) -> str:
        return f"container of {self._image}"

    def start(self) -> None:
        self._server.start()
        self._server.wait_until(self._serves, what=f"Valkey at {self.url}")

    def stop(self, *, kill: bool = False) -> None:
        self._server.stop(kill=kill)

    def client(self) -> redis.Redis:
        """A blocking client, for what a test does to the server behind Doorstep's back."""
        return redis.Redis(port=self._port)

    def _serves(self) -> bool:
        with contextlib.closing(self.client()) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:  # not listening yet, or still loading its data
                return False

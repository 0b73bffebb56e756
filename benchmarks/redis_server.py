"""The Redis of a benchmark: Valkey from its wheel, or one that is given; and what it has cost so far."""

from dataclasses import dataclass
from pathlib import Path

import redis

from doorstep.development.processes import ServerError
from doorstep.development.valkey import ValkeyProcess


@dataclass(frozen=True, slots=True)
class RedisReading:
    """What a Redis has used since it started."""

    cpu_s: float
    bytes_in: int
    bytes_out: int
    memory_bytes: int
    """Now."""

    def __sub__(self, earlier: "RedisReading") -> "RedisReading":
        return RedisReading(
            self.cpu_s - earlier.cpu_s,
            self.bytes_in - earlier.bytes_in,
            self.bytes_out - earlier.bytes_out,
            self.memory_bytes - earlier.memory_bytes,
        )


class RedisServer:
    """A Redis or Valkey; its URL, and its costs."""

    def __init__(self, url: str, own: ValkeyProcess | None = None) -> None:
        """`own`: the server, where it is ours."""
        self.url = url
        self._own = own
        self._client: redis.Redis = redis.Redis.from_url(url)

    @property
    def version(self) -> str:
        """What it says it is."""
        said = self._client.info("server")
        name = "Valkey" if "valkey_version" in said else "Redis"
        return f"{name} {said.get('valkey_version', said['redis_version'])}"

    def answers(self) -> bool:
        """Whether it is there, and loaded."""
        try:
            return bool(self._client.ping())
        except redis.RedisError:
            return False

    def read(self) -> RedisReading:
        """What it has used so far. Raises `ServerError` when it does not answer."""
        try:
            said = self._client.info()
        except redis.RedisError as error:
            raise ServerError(f"Redis at {self.url} does not answer: {error}") from error
        return RedisReading(
            said["used_cpu_sys"] + said["used_cpu_user"],
            said["total_net_input_bytes"],
            said["total_net_output_bytes"],
            said["used_memory"],
        )

    def close(self) -> None:
        """End a server of our own."""
        self._client.close()
        if self._own is not None:
            self._own.stop()


def start_redis(directory: Path) -> RedisServer:
    """Start an empty Valkey that keeps its data in memory only. Raises `ServerError` if it does not start."""
    valkey = ValkeyProcess(directory, {"appendonly": "no"})
    valkey.start()
    return RedisServer(valkey.url, valkey)


def given_redis(url: str) -> RedisServer:
    """A server that is there. Raises `ServerError` if it isn't."""
    server = RedisServer(url)
    if not server.answers():
        raise ServerError(f"no Redis answers at {url}")
    return server

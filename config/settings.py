"""Every setting of Doorstep: one frozen tree, validated once, passed down.

Sources, the later wins: defaults, a TOML file, the environment (`DOORSTEP_` prefix, `__` between levels,
`DOORSTEP_KAFKA__BOOTSTRAP_SERVERS`), command-line flags. An empty variable counts as unset. A secret may also
be read from a file: set `DOORSTEP_AUTH__HS256_SECRET_FILE` instead of `DOORSTEP_AUTH__HS256_SECRET`, or
`hs256_secret_file` in the TOML file. No error and no `repr` shows the value of a setting that is a secret.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic_settings
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    ValidationError,
)
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from doorstep.config.origins import canonical_origin
from doorstep.config.public_url import NODE, checked_public_url
from doorstep.config.secret_files import with_secrets_read
from doorstep.config.setting_names import PREFIX, paths_of, variable
from doorstep.config.settings_errors import SettingsError, complaints


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)


def _listed(value: Any) -> Any:
    """A list given as one text: a JSON array, or separated by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


def _canonical(origins: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(canonical_origin(origin) for origin in origins)


_SERVER = re.compile(r"(?:[0-9A-Za-z._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{1,5}))?")


def _servers(text: str) -> str:
    """Addresses, separated by commas, as both of our Kafka clients take them; or none."""
    for server in text.split(",") if text else ():
        match = _SERVER.fullmatch(server.strip())
        if match is None or int(match[1] or 0) > _MAX_PORT:
            raise ValueError("write host:port, or several with commas between them, without a scheme")
    return text


_MAX_PORT = 65535
_Host = Annotated[str, Field(pattern=r"^[0-9A-Za-z._:%-]{1,253}$")]
_Topic = Annotated[str, Field(pattern=r"^[0-9A-Za-z._-]{1,249}$")]
_Texts = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_listed)]


class KafkaSettings(_Section):
    """Where events come from, and how they are consumed."""

    bootstrap_servers: Annotated[str, AfterValidator(_servers)] = ""
    group_id: str = "doorstep"
    start: Literal["earliest", "latest"] = "earliest"
    dead_letter_topic: _Topic = "doorstep.dead-letter.v1"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "PLAIN"
    sasl_username: str | None = None
    sasl_password: SecretStr | None = None
    ssl_cafile: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    ssl_password: SecretStr | None = None
    linger_ms: float = Field(default=1.0, ge=0, le=50)
    """At least so long between two batches from Kafka; a record after a pause never waits. More saves CPU."""
    max_poll_records: int = Field(default=1000, ge=1)
    max_record_bytes: int = Field(default=1 << 20, ge=1024)
    """A longer value is dead-lettered as `oversized`."""
    commit_interval_ms: int = Field(default=500, ge=10)
    fetch_max_wait_ms: int = Field(default=500, ge=1)
    session_timeout_ms: int = Field(default=10_000, ge=1000)


class RedisSettings(_Section):
    """Where logs and contexts are kept. `rediss://` for TLS; `redis+sentinel://host:port/service`."""

    url: SecretStr = SecretStr("")
    cluster: bool = False
    prefix: str = Field(default="doorstep", pattern=r"^[A-Za-z0-9._:-]{1,64}$")
    """What all keys and channels begin with: services that share a database need different ones."""
    ssl_ca_certs: Path | None = None
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    timeout_s: float = Field(default=5.0, gt=0)


class AuthSettings(_Section):
    """How a browser proves which user it is."""

    hs256_secret: SecretStr | None = None
    hs256_secrets_file: Path | None = None
    """Several secrets, one a line, so that one can be rotated: the first signs, all verify. Read again when
    it changes. `hs256_secret`, where it is set too, comes before them."""
    jwks_url: str | None = None
    issuer: str | None = None
    audience: str | None = None
    allow_query_token: bool = False
    leeway_s: float = Field(default=5.0, ge=0)
    expiry_notice_s: float = Field(default=60.0, ge=0)
    """How long before `exp` a socket is told `doorstep.token_expiring`; for a token that had less than four
    times as long to live when it came, a quarter of that."""


class GatewaySettings(_Section):
    """The public port and what it allows."""

    host: _Host = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=_MAX_PORT)
    allowed_origins: Annotated[_Texts, AfterValidator(_canonical)] = ()
    """Empty: the page's own host only. `*` allows every origin, `https://*.example.org` every name below that
    one. As a variable: comma-separated or JSON."""
    public_url: Annotated[str, AfterValidator(checked_public_url)] | None = None
    """Where `/v1/endpoint` sends clients, without the `/v1/ws` at its end; unset: where they came to. With
    `{node}` in it, for the public name of a node, each user has a home among the nodes, which whoever brings
    the user's token is sent to."""
    max_sockets_per_user: int = Field(default=10, ge=1)
    """One that does not answer a ping gives way to a new one."""
    max_polls_per_user: int = Field(default=20, ge=1)
    """Requests that wait at the same time."""
    head_timeout_s: float = Field(default=10.0, gt=0)
    holder_wait_s: float = Field(default=3.0, ge=0)
    ping_interval_s: float = Field(default=25.0, gt=0)
    ping_timeout_s: float = Field(default=5.0, gt=0)
    write_buffer_bytes: int = Field(default=256 * 1024, ge=4096)
    stuck_timeout_s: float = Field(default=5.0, gt=0)
    max_frame_bytes: int = Field(default=16 * 1024, ge=256)
    max_frames_per_s: float = Field(default=100.0, gt=0)
    """What a socket may send for long, or 20 seconds' worth of it at once; more closes it with 4009. A frame
    counts as one, and as one more for each KiB of it."""

    @property
    def has_homes(self) -> bool:
        """Whether nodes have addresses of their own, so that each user has a home."""
        return self.public_url is not None and NODE in self.public_url


class AdminSettings(_Section):
    """The port for operators: probes, status and metrics. Not for browsers."""

    host: _Host = "127.0.0.1"
    port: int = Field(default=8001, ge=0, le=_MAX_PORT)


class HistorySettings(_Section):
    """How long a user's log can be resumed from."""

    max_count: int = Field(default=1000, ge=1)
    ttl_s: int = Field(default=24 * 3600, ge=1)
    head_ttl_s: int = Field(default=90 * 24 * 3600, ge=1)
    dedupe_window: int = Field(default=4096, ge=1)


class ContextSettings(_Section):
    """Which user a batch belongs to, and how long an event waits for that to become known."""

    ttl_s: int = Field(default=90 * 24 * 3600, ge=1)
    park_ttl_s: int = Field(default=900, ge=1)
    max_parked_per_batch: int = Field(default=1000, ge=1)
    max_parked: int = Field(default=100_000, ge=1)
    sweep_interval_s: float = Field(default=5.0, gt=0)


class CanarySettings(_Section):
    """A user of our own, whose notifications are waited for, so that an outage is known at once."""

    interval_s: float = Field(default=0.0, ge=0)
    """Seconds from one record to the next; 0: there is no canary. It needs a shared secret to sign with."""
    timeout_s: float = Field(default=3.0, gt=0)
    """How long a notification may take, with the handshake of its socket."""
    user_id: str = "doorstep-canary"
    """On a Ray cluster `<user_id>.<node>`: each node has a canary."""
    topic: _Topic = "huleedu.notification.teacher.requested.v1"
    """Where its records go: a topic whose route takes `TeacherNotificationRequestedV1`."""


class ReceiptsSettings(_Section):
    """What clients say that they have shown, besides the metrics of it."""

    topic: _Topic | Literal[""] = ""
    """A Kafka topic that gets a record for each acknowledgement; empty: none. While Kafka is away they are
    dropped."""


class RaySettings(_Section):
    """The Ray cluster that places the actors."""

    address: str | None = None
    """Unset: a local Ray, started and stopped with `doorstep serve`."""
    namespace: str = "doorstep"


class AutoscaleSettings(_Section):
    """How many cells an autoscaling Ray cluster is asked for, as nodes that offer the resource `cell`."""

    max_cells: int = Field(default=0, ge=0)
    """0: it is not asked."""
    min_cells: int = Field(default=1, ge=1)
    connections_per_cell: int = Field(default=8000, ge=1)
    """With more there is to be another cell, as with more of what follows."""
    cores_per_cell: float = Field(default=0.7, gt=0)
    """CPU of all holders of a cell together."""
    lag_per_cell: int = Field(default=5000, ge=1)
    """Records."""
    calm_s: float = Field(default=600.0, ge=0)
    """How long fewer cells must have done before one fewer is asked for."""


class Settings(BaseSettings):
    """The whole configuration, frozen."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        env_ignore_empty=True,
        frozen=True,
        extra="forbid",
        hide_input_in_errors=True,
        allow_inf_nan=False,
    )

    kafka: KafkaSettings = KafkaSettings()
    redis: RedisSettings = RedisSettings()
    auth: AuthSettings = AuthSettings()
    gateway: GatewaySettings = GatewaySettings()
    admin: AdminSettings = AdminSettings()
    history: HistorySettings = HistorySettings()
    context: ContextSettings = ContextSettings()
    canary: CanarySettings = CanarySettings()
    receipts: ReceiptsSettings = ReceiptsSettings()
    ray: RaySettings = RaySettings()
    autoscale: AutoscaleSettings = AutoscaleSettings()
    holders: int = Field(default=1, ge=1, le=256)
    """On each node of the Ray cluster, at the start of a fleet: `doorstep scale` changes it."""
    consumers: int = Field(default=1, ge=1)
    """On all nodes together, likewise."""
    routes: Path = Path(__file__).parent / "routes.toml"
    run_dir: Path | None = None
    """Holds settings and Unix sockets of the actors of a node, at the same path on each; unset: a private
    temporary directory."""
    drain_s: float = Field(default=20.0, gt=0)
    """How long a stop may take: until then sockets are sent off in waves, and consumers finish and commit."""
    traces: bool = False
    """Spans of notifications, by OpenTelemetry, which `doorstep[traces]` brings. Its own `OTEL_…` variables
    say how many, and where they go."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_others: Any,
        **_more: Any,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return init_settings, _Environment(settings_cls), _File(settings_cls)


class _Environment(EnvSettingsSource):
    def __call__(self) -> dict[str, Any]:
        return with_secrets_read(super().__call__(), Settings)


class _File(TomlConfigSettingsSource):
    def __call__(self) -> dict[str, Any]:
        return with_secrets_read(super().__call__(), Settings)


def load_settings(file: Path | None = None, **flags: Any) -> Settings:
    """Read the configuration: `flags` over the environment over the TOML `file` over defaults.

    Raises `SettingsError` that names each wrong setting, or a `file` that can't be read.
    """

    class FromFile(Settings):
        model_config = SettingsConfigDict(toml_file=file)

    in_file = _read_toml(file)
    try:
        return Settings.model_construct(**dict(FromFile(**flags)))
    except ValidationError as error:
        raise SettingsError("\n".join(complaints(error, Settings, flags, in_file, file))) from error
    except pydantic_settings.SettingsError as error:
        raise SettingsError(f"environment: {error}; a section as a whole is given as JSON") from error


def unknown_environment(environ: Mapping[str, str]) -> list[str]:
    """The variables with our prefix that are no setting (most likely misspelt), sorted."""
    known = _variables()
    return sorted(name for name in environ if name.upper().startswith(PREFIX) and name.upper() not in known)


def no_such_variable(name: str) -> str:
    """What to say of one of those."""
    near = nearest_variable(name)
    return f"{name}: there is no such setting{f'; did you mean {near}?' if near else ''}"


def nearest_variable(name: str) -> str | None:
    """The variable that one of those is most likely to stand for; None where it is like no other."""
    bare = {known.removeprefix(PREFIX): known for known in _variables()}
    close = get_close_matches(name.upper().removeprefix(PREFIX), bare, n=1)
    return bare[close[0]] if close else None


def _variables() -> set[str]:
    return {variable(*path) for path in paths_of(Settings)}


def _read_toml(file: Path | None) -> dict[str, Any]:
    # pydantic-settings takes a missing file for an empty one, so it is looked at here first.
    if file is None:
        return {}
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{file} can't be read ({error.strerror}): give --config a file") from error
    except ValueError as error:
        raise SettingsError(f"{file} is no valid TOML: {error}") from error

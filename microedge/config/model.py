"""The values that configuration and manifests become: frozen, checked, with every default filled in.

Nothing here reads a file. `load.py` makes a `Config` of microedge.toml, `image.py` an `Image` of module.toml, and
`plan.py` joins the two.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

NEVER, ON_FAILURE, ON_UNHEALTHY, ALWAYS = "never", "on-failure", "on-unhealthy", "always"
RESTART_POLICIES = (NEVER, ON_FAILURE, ON_UNHEALTHY, ALWAYS)

NONE, FILE, MQTT = "none", "file", "mqtt"
UPSTREAM_TYPES = (NONE, FILE, MQTT)

STRICT, WEIGHTED = "strict", "weighted"
PRIORITY_RULES = (STRICT, WEIGHTED)

FORK, EXEC = "fork", "exec"
LAUNCHES = (FORK, EXEC)

DROPPED_IN, BUNDLED = "dropped-in", "bundled"

RESERVED_NAME = "supervisor"  # of no image and no instance: `microedge logs supervisor` shows the runtime's own log

INPUT_WINDOW = 32  # with 1, a message between modules costs five times the CPU: a round trip each

DEFAULT_TOPIC = "microedge/{device}/{module}/{output}"


@dataclass(frozen=True)
class DeviceConfig:
    """`[device]`."""

    id: str


@dataclass(frozen=True)
class PathsConfig:
    """Absolute paths of directories, which need not exist yet."""

    modules: str
    state: str


@dataclass(frozen=True)
class UpstreamConfig:
    """Where messages go when they leave the device. Fields of another type than `type` keep their defaults.

    `password` is the resolved secret; no repr shows it. `client_id` is empty when the device id is to be used.
    """

    type: str = NONE
    url: str = ""
    host: str = ""  # taken from `url`; an IPv6 address without its brackets
    port: int = 0  # taken from `url`, or the scheme's default
    is_tls: bool = False  # taken from `url`
    username: str = ""
    password: str = field(default="", repr=False)
    ca_file: str = ""
    cert_file: str = ""
    key_file: str = ""
    client_id: str = ""
    protocol: int = 5  # 5 or 311
    keepalive_s: int = 60
    topic: str = DEFAULT_TOPIC
    envelope: bool = False
    path: str = ""  # absolute; type "file" only
    max_mib: int = 16  # of one file; type "file" only
    keep: int = 4  # files kept, the current one included; type "file" only


@dataclass(frozen=True)
class StoreConfig:
    """`[store]`: how much of what no upstream has taken yet is kept, and for how long."""

    max_mib: int = 256
    keep_free_mib: int = 128
    ttl_s: int = 7200  # -1: never
    linger_ms: int = 5000
    priorities: str = STRICT
    live_lane: bool = False


@dataclass(frozen=True)
class Permissions:
    """What an image asks for, or what an operator grants."""

    network: bool = False
    groups: tuple[str, ...] = ()
    read: tuple[str, ...] = ()  # absolute paths, read-only


@dataclass(frozen=True)
class Limits:
    """`[limits]`: what one process of an instance may take."""

    memory_mib: int = 64
    processes: int = 8
    open_files: int = 64
    cpu_weight: int = 100


@dataclass(frozen=True)
class Supervision:
    """`[supervision]`: when an instance is started, given up and started again."""

    restart: str = ALWAYS
    start_order: int = 100
    ready_timeout_s: float = 30
    stop_timeout_s: float = 10
    hang_timeout_s: float = 30  # 0: may block for as long as it likes


@dataclass(frozen=True)
class InstanceConfig:
    """One [modules.NAME] table. `limits` and `supervision` hold only what the operator wrote.

    `restart` is also in `supervision`, wherever it was written. `permissions` is what is granted: nothing by default.
    """

    name: str
    image: str
    autostart: bool | None = None
    restart: str | None = None
    env: Mapping[str, str] = field(default_factory=dict, repr=False)  # may hold secrets
    desired: Mapping[str, Any] = field(default_factory=dict)
    limits: Mapping[str, int] = field(default_factory=dict)
    supervision: Mapping[str, Any] = field(default_factory=dict)
    permissions: Permissions = Permissions()
    input_window: int | None = None  # None: what the image says
    durability: str | None = None  # of messages that do not say it themselves; None: batched
    line: int = field(default=0, compare=False)  # a moved table is not a changed one


@dataclass(frozen=True)
class RouteConfig:
    """One route as it was written; its text is parsed by the hub. `ttl_s` is None for the store's, -1 for never."""

    name: str
    text: str
    priority: int = 9
    ttl_s: int | None = None
    line: int = field(default=0, compare=False)


@dataclass(frozen=True)
class Config:
    """The whole of microedge.toml. `file` is absolute; `has_routes` is False when there is no [routes] at all."""

    file: str
    device: DeviceConfig
    paths: PathsConfig
    upstream: UpstreamConfig = UpstreamConfig()
    store: StoreConfig = StoreConfig()
    modules: Mapping[str, InstanceConfig] = field(default_factory=dict)
    routes: tuple[RouteConfig, ...] = ()
    has_routes: bool = False
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class Image:
    """One module image: a directory whose module.toml is valid. None of its code has been read.

    `fingerprint` changes with its files; `shadows` says that a bundled image of the same name is hidden by it.
    """

    name: str
    version: str
    entry_module: str
    entry_function: str
    directory: str
    origin: str = DROPPED_IN
    description: str = ""
    python: str = ""
    requires: tuple[str, ...] = ()
    shared: bool = False
    launch: str = FORK
    preload: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    input_window: int = INPUT_WINDOW
    desired: Mapping[str, Any] = field(default_factory=dict)
    permissions: Permissions = Permissions()
    limits: Limits = Limits()
    supervision: Supervision = Supervision()
    shadows: bool = False
    fingerprint: str = ""

"""From microedge.toml to a `Config`: where the file is found, and what each of its tables means."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Mapping
from dataclasses import replace

from microedge.config.document import HIDDEN, MISSING, Words, open_document
from microedge.config.model import (
    PRIORITY_RULES,
    RESERVED_NAME,
    Config,
    DeviceConfig,
    InstanceConfig,
    PathsConfig,
    RouteConfig,
    StoreConfig,
)
from microedge.config.reader import Range, TableReader
from microedge.config.sections import INPUT_WINDOWS, read_desired, read_limits, read_permissions, read_supervision
from microedge.config.upstream import Surroundings, clear_text_warning, read_upstream
from microedge.errors import ConfigError, printable
from microedge.message import DURABILITIES
from microedge.names import DEVICE_RULE, IMAGE_RULE, NAME_RULE, is_device_id, is_image_name, is_name

FILE_NAME = "microedge.toml"
VARIABLE = "MICROEDGE_CONFIG"
SYSTEM_FILE = "/etc/microedge/microedge.toml"

MAX_FILE_BYTES = 1024 * 1024
MAX_ROUTE_CHARS = 4096
MAX_TTL_S = 4_294_967_295  # an unsigned 32-bit number, as in IoT Edge

STORE_RANGES = {
    "max_mib": Range(1, 1_048_576, "MiB"),
    "keep_free_mib": Range(0, 1_048_576, "MiB"),
    "ttl_s": Range(1, MAX_TTL_S, "seconds", minus_one="never"),
    "linger_ms": Range(0, 600_000, "milliseconds"),
}
PRIORITIES = Range(0, 9)
ROUTE_TTLS = Range(0, MAX_TTL_S, "seconds", minus_one="never")
INSTANCE_KEYS = (
    "image",
    "autostart",
    "restart",
    "input_window",
    "durability",
    "env",
    "desired",
    "limits",
    "supervision",
    "permissions",
)

_ROUTE_RULE = '"FROM … INTO …"'
_VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


def find(option: str | None, environ: Mapping[str, str], cwd: str, *, system_file: str = SYSTEM_FILE) -> str:
    """Return the absolute path of the configuration: `option`, $MICROEDGE_CONFIG, ./microedge.toml, or the system's.

    The first two are taken at their word: whether that file exists shows when it is loaded.

    Raises:
        ConfigError: none was named, and neither of the two usual files exists.
    """
    named = option or environ.get(VARIABLE)
    if named:
        return os.path.normpath(os.path.join(cwd, named))
    here = os.path.join(cwd, FILE_NAME)
    for file in (here, system_file):
        if os.path.lexists(file):
            return file
    expected = f"{FILE_NAME} here, {system_file}, or a file named by --config or ${VARIABLE}"
    raise ConfigError(here, 0, "", Words("no configuration"), expected, "write one with: microedge init")


def load(file: str, *, environ: Mapping[str, str] | None = None, host_name: str | None = None) -> Config:
    """Return the configuration in `file`, with the secrets that it refers to. Blocks for a few reads.

    `environ` and `host_name` are those of this process when they are not given.

    Raises:
        ConfigError: anything in it is wrong; the error names the file, the line and the key, and no secret.
    """
    file = os.path.abspath(file)
    root = TableReader(open_document(file, MAX_FILE_BYTES))
    root.only("device", "paths", "upstream", "store", "modules", "routes")
    paths = _paths(root.table("paths"), os.path.dirname(file))
    around = Surroundings(os.path.dirname(file), paths.state, os.environ if environ is None else environ)
    config = Config(
        file=file,
        device=_device(root.table("device"), os.uname().nodename if host_name is None else host_name),
        paths=paths,
        upstream=read_upstream(root.table("upstream"), around),
        store=_store(root.table("store")),
        modules=_modules(root.table("modules"), around),
        routes=_routes(root.table("routes")),
        has_routes="routes" in root,
    )
    return _with_warnings(config, root)


def _device(table: TableReader, host_name: str) -> DeviceConfig:
    table.only("id")
    if "id" not in table and not is_device_id(host_name):
        hint = f"the host name {printable(host_name)!r} cannot stand in for it; write [device] id"
        raise table.document.wrong(("device", "id"), MISSING, DEVICE_RULE, hint)
    device_id = table.string("id", host_name)
    if not is_device_id(device_id):
        raise table.wrong("id", DEVICE_RULE)
    return DeviceConfig(device_id)


def _paths(table: TableReader, base: str) -> PathsConfig:
    table.only("modules", "state")
    paths = PathsConfig(table.path_of("modules", "modules", base), table.path_of("state", "state", base))
    if paths.state == paths.modules:
        raise table.wrong("state", "another directory than modules", got=paths.state)
    return paths


def _store(table: TableReader) -> StoreConfig:
    table.only(*STORE_RANGES, "priorities", "live_lane")
    defaults = StoreConfig()
    return StoreConfig(
        **{key: table.integer(key, getattr(defaults, key), span) for key, span in STORE_RANGES.items()},
        priorities=table.choice("priorities", defaults.priorities, PRIORITY_RULES),
        live_lane=table.boolean("live_lane", defaults.live_lane),
    )


def _modules(table: TableReader, around: Surroundings) -> dict[str, InstanceConfig]:
    modules = {}
    for name in table.keys():  # noqa: SIM118 (no mapping)
        if name == RESERVED_NAME:
            raise table.wrong(name, "another name", f"{name!r} stands for microedge itself", got=Words("…"))
        if not is_name(name):
            raise table.wrong(name, f"an instance's name: {NAME_RULE}", got=Words("…"))
        modules[name] = _instance(name, table.table(name), around)
    return modules


def _instance(name: str, table: TableReader, around: Surroundings) -> InstanceConfig:
    table.only(*INSTANCE_KEYS)
    supervision = read_supervision(table.table("supervision"))
    if "restart" in table:
        if "restart" in supervision:
            raise table.wrong("restart", f"one restart; [modules.{name}.supervision] has another")
        supervision.update(read_supervision(_only_restart(table)))
    return InstanceConfig(
        name=name,
        image=_image(name, table),
        autostart=table.boolean("autostart", True) if "autostart" in table else None,
        restart=supervision.get("restart"),
        env=_env(table.table("env"), around),
        desired=read_desired(table.table("desired")),
        limits=read_limits(table.table("limits")),
        supervision=supervision,
        permissions=read_permissions(table.table("permissions")),
        input_window=table.integer("input_window", None, INPUT_WINDOWS) if "input_window" in table else None,
        durability=table.choice("durability", None, DURABILITIES) if "durability" in table else None,
        line=table.line,
    )


def _only_restart(table: TableReader) -> TableReader:
    return TableReader(table.document, table.path, {"restart": table.value("restart")})


def _image(name: str, table: TableReader) -> str:
    rule = f"the name of a module image: {IMAGE_RULE}"
    image = table.string("image", name if is_image_name(name) else None, rule=rule)
    if not is_image_name(image):
        raise table.wrong("image", rule)
    return image


def _env(table: TableReader, around: Surroundings) -> dict[str, str]:
    variables = {}
    for key in table.keys():  # noqa: SIM118 (no mapping)
        if not _VARIABLE_NAME.fullmatch(key):
            raise table.wrong(key, "a variable's name: letters, digits and _", got=HIDDEN)
        variables[key] = table.secret(key, around.base, around.environ)
    return variables


def _routes(table: TableReader) -> tuple[RouteConfig, ...]:
    return tuple(_route(table, name) for name in table.keys())  # noqa: SIM118 (no mapping)


def _route(routes: TableReader, name: str) -> RouteConfig:
    if not is_name(name):
        raise routes.wrong(name, f"a route's name: {NAME_RULE}", got=Words("…"))
    line = routes.document.line((*routes.path, name))
    value = routes.value(name)
    if isinstance(value, str):
        return RouteConfig(name, routes.string(name, max_chars=MAX_ROUTE_CHARS, is_multiline=True), line=line)
    if not isinstance(value, Mapping):
        raise routes.wrong(name, f'{_ROUTE_RULE}, or a table {{ route = "…", priority = 0, ttl_s = 60 }}')
    table = routes.table(name)
    table.only("route", "priority", "ttl_s")
    return RouteConfig(
        name,
        table.string("route", None, max_chars=MAX_ROUTE_CHARS, rule=_ROUTE_RULE, is_multiline=True),
        priority=table.integer("priority", 9, PRIORITIES),
        ttl_s=table.integer("ttl_s", 0, ROUTE_TTLS) or None,  # 0 inherits, as in IoT Edge
        line=line,
    )


def _with_warnings(config: Config, root: TableReader) -> Config:
    warnings = [clear_text_warning(config.upstream), _open_file_warning(config, root)]
    if not config.has_routes:
        warnings.append("No [routes]: every output goes INTO $upstream")
    elif not config.routes:
        warnings.append("[routes] is empty: no message goes anywhere")
    return replace(config, warnings=tuple(filter(None, warnings)))


def _open_file_warning(config: Config, root: TableReader) -> str:
    is_inline = isinstance(root.table("upstream").value("password"), str)
    try:
        is_open = os.stat(config.file).st_mode & stat.S_IROTH
    except OSError:  # removed since it was read: then nobody can read it
        return ""
    if not (is_inline and is_open):
        return ""
    return f'[upstream] password can be read by every user: chmod 640 {config.file}, or use {{ file = "…" }}'

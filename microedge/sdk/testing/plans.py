"""What a test asks for, as the configuration would have it: images, instances and routes, read by the real code."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Callable, Union

from microedge.config.discovery import Discovery, scan
from microedge.config.image import read_image
from microedge.config.load import load
from microedge.config.model import Config, DeviceConfig, Image, InstanceConfig, PathsConfig, StoreConfig
from microedge.config.places import bundled_modules_dir
from microedge.config.plan import InstancePlan, plan
from microedge.hub.parser import parse
from microedge.hub.route import LOWEST_PRIORITY, Route
from microedge.supervisor.routing import routes_of

Main = Callable[[Any], object]
Source = Union[str, "os.PathLike[str]", Main]
Routes = Union[Sequence[str], Mapping[str, Union[str, Mapping[str, Any]]]]

_DEVICE = "test-device"
_EVERYTHING = {"everything": "FROM /messages/* INTO $upstream"}  # what holds without a [routes] table


@dataclass(frozen=True)
class Layout:
    """What a hub begins with. `ttl_s` is the store's."""

    routes: Sequence[Route]
    instances: Sequence[InstancePlan] = ()
    device: str = _DEVICE
    ttl_s: int = StoreConfig().ttl_s


def layout_of(routes: Routes | None) -> Layout:
    """Return a layout with routes as a [routes] table would have them.

    Raises:
        RouteSyntaxError: a route does not follow the grammar.
    """
    if routes is None:
        routes = _EVERYTHING
    named = routes.items() if isinstance(routes, Mapping) else ((f"route{n}", it) for n, it in enumerate(routes, 1))
    tables: list[tuple[str, Mapping[str, Any]]]
    tables = [(name, {"route": each} if isinstance(each, str) else each) for name, each in named]
    return Layout(
        [
            parse(name, table["route"], priority=table.get("priority", LOWEST_PRIORITY), ttl_s=table.get("ttl_s"))
            for name, table in tables
        ]
    )


def layout_in(file: str | os.PathLike[str]) -> Layout:
    """Return the layout that a microedge.toml describes.

    Raises:
        ConfigError: something in it is wrong.
        ModuleImageError: an image that it names, or one in its modules directory, cannot be used.
    """
    config = load(os.fspath(file))
    found = plan(config, scan(config.paths.modules, bundled_modules_dir()))
    if found.rejected:
        raise found.rejected[0]
    running = [one for one in found.instances if one.autostart]
    return Layout(routes_of(config), running, config.device.id, config.store.ttl_s)


def instance_of(
    module: Source,
    name: str,
    ports: tuple[Sequence[str], Sequence[str]],
    desired: Mapping[str, Any],
    env: Mapping[str, str],
) -> InstancePlan:
    """Return how the supervisor would run a module. `ports` are the inputs and outputs of a function.

    Raises:
        ModuleImageError: the directory or its manifest is wrong.
    """
    if callable(module):
        inputs, outputs = ports
        image = Image(name or "module", "0", "", "", "", inputs=tuple(inputs), outputs=tuple(outputs))
    else:
        image = read_image(_directory(os.fspath(module)))
    instance = InstanceConfig(name or image.name, image.name, desired=desired, env=env)
    config = Config("", DeviceConfig(_DEVICE), PathsConfig("", ""), modules={instance.name: instance})
    return plan(config, Discovery(images={image.name: image})).instances[0]


def _directory(path: str) -> str:
    """Return the directory of an image: a path, or the bare name of a bundled one."""
    bundled = os.path.join(bundled_modules_dir(), path)
    return bundled if os.sep not in path and not os.path.isdir(path) and os.path.isdir(bundled) else path

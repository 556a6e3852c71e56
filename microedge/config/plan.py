"""Which instances run: the configuration joined with the images that were found. Pure: no file, no clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from microedge.config.discovery import Discovery
from microedge.config.model import (
    DROPPED_IN,
    INPUT_WINDOW,
    Config,
    Image,
    InstanceConfig,
    Limits,
    Permissions,
    Supervision,
)
from microedge.config.reader import nearest
from microedge.errors import ModuleImageError
from microedge.message import BATCHED


@dataclass(frozen=True)
class InstancePlan:
    """One instance as it is to run. `config` is None for a dropped-in image that the configuration does not mention.

    `permissions` is what the image asks for and the operator grants; `withheld` lists, in words, what it asks for in
    vain. Desired properties are those of the image with `config.desired` merged into them.
    """

    name: str
    image: Image
    config: InstanceConfig | None
    limits: Limits
    supervision: Supervision
    permissions: Permissions
    withheld: tuple[str, ...]
    autostart: bool
    env: Mapping[str, str]
    input_window: int = INPUT_WINDOW  # messages sent to one input before the first of them is answered
    durability: str = BATCHED  # of messages that do not say it themselves


@dataclass(frozen=True)
class Plan:
    """`instances` in the order in which they start. One line per rejected directory or instance."""

    instances: tuple[InstancePlan, ...]
    rejected: tuple[ModuleImageError, ...]
    warnings: tuple[str, ...]


def plan(config: Config, discovery: Discovery) -> Plan:
    """Return what runs. A configured instance without a usable image is rejected; the others go on.

    Every dropped-in image becomes an instance of its own name, unless the configuration uses it. Bundled images run
    only where the configuration names them.
    """
    wanted = config.modules.values()
    instances = [
        _instance(one.name, discovery.images[one.image], one) for one in wanted if one.image in discovery.images
    ]
    instances += [_instance(image.name, image, None) for image in _unmentioned(config, discovery)]
    instances.sort(key=lambda instance: (instance.supervision.start_order, instance.name))
    missing = [one for one in wanted if one.image not in discovery.images]
    waiting = [one for one in missing if one.image in discovery.incomplete]
    rejected = [_without_image(config.file, one, discovery) for one in missing if one not in waiting]
    warnings = [f"[modules.{one.name}] waits until the image {one.image} is complete" for one in waiting]
    warnings += _name_clashes(config, discovery)
    for instance in instances:
        warnings += _grants_in_vain(instance)
    return Plan(tuple(instances), (*discovery.rejected, *rejected), (*config.warnings, *warnings))


def granted(asked: Permissions, allowed: Permissions) -> Permissions:
    """Return what is both asked for and allowed. To allow a directory is to allow everything below it."""
    return Permissions(
        network=asked.network and allowed.network,
        groups=tuple(group for group in asked.groups if group in allowed.groups),
        read=tuple(path for path in asked.read if any(_is_below(path, root) for root in allowed.read)),
    )


def _instance(name: str, image: Image, config: InstanceConfig | None) -> InstancePlan:
    written = config or InstanceConfig(name, image.name)
    permissions = granted(image.permissions, written.permissions)
    return InstancePlan(
        name=name,
        image=image,
        config=config,
        limits=replace(image.limits, **written.limits),
        supervision=replace(image.supervision, **written.supervision),
        permissions=permissions,
        withheld=_beyond(image.permissions, permissions),
        autostart=written.autostart is not False,
        env=written.env,
        input_window=written.input_window or image.input_window,
        durability=written.durability or BATCHED,
    )


def _unmentioned(config: Config, discovery: Discovery) -> list[Image]:
    used = {one.image for one in config.modules.values()} | set(config.modules)
    return [image for image in discovery.images.values() if image.origin == DROPPED_IN and image.name not in used]


def _name_clashes(config: Config, discovery: Discovery) -> list[str]:
    used = {one.image for one in config.modules.values()}
    return [
        f"image {image.name} has no instance: [modules.{image.name}] runs the image {config.modules[image.name].image}"
        for image in discovery.images.values()
        if image.origin == DROPPED_IN and image.name in config.modules and image.name not in used
    ]


def _without_image(file: str, one: InstanceConfig, discovery: Discovery) -> ModuleImageError:
    entry = discovery.dropped_in.get(one.image) or discovery.bundled.get(one.image)
    if entry and entry.error:
        reason = f"expected a usable image; see {entry.error.file}"
    else:
        hint = nearest(one.image, sorted(discovery.images))
        reason = f"expected an image that exists; {hint or 'put its directory into the modules directory'}"
    return ModuleImageError(file, f"[modules.{one.name}] image = {one.image!r}: {reason}", one.line)


def _grants_in_vain(instance: InstancePlan) -> list[str]:
    if instance.config is None:
        return []
    allowed, asked = instance.config.permissions, instance.image.permissions
    unused = Permissions(
        network=allowed.network and not asked.network,
        groups=tuple(group for group in allowed.groups if group not in asked.groups),
        read=tuple(root for root in allowed.read if not any(_is_below(path, root) for path in asked.read)),
    )
    return [
        f"[modules.{instance.name}.permissions] grants {what}, which the image {instance.image.name} does not ask for"
        for what in _words(unused)
    ]


def _beyond(asked: Permissions, given: Permissions) -> tuple[str, ...]:
    rest = Permissions(
        network=asked.network and not given.network,
        groups=tuple(group for group in asked.groups if group not in given.groups),
        read=tuple(path for path in asked.read if path not in given.read),
    )
    return _words(rest)


def _words(permissions: Permissions) -> tuple[str, ...]:
    network = ("network",) if permissions.network else ()
    groups = tuple(f"group {group}" for group in permissions.groups)
    return (*network, *groups, *(f"reading {path}" for path in permissions.read))


def _is_below(path: str, root: str) -> bool:
    return f"{path.rstrip('/')}/".startswith(f"{root.rstrip('/')}/")

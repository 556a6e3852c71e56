"""Twins as MQTT carries them: per module one retained topic for what is desired and one for what is reported. Pure."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_ROOT, _TAIL = "microedge", "twin/desired"


def desired_filter(device: str) -> str:
    """Return the topic filter that takes in the desired document of every module of a device."""
    return f"{_ROOT}/{device}/+/{_TAIL}"


def desired_module(device: str, message: Any) -> str:
    """Return the module whose desired document a message of paho's is, "" when it is none of this device."""
    try:
        levels = message.topic.split("/", 3)
    except UnicodeDecodeError:  # paho decodes it here; a broker should have refused it
        return ""
    if len(levels) != 4 or levels[:2] != [_ROOT, device] or levels[3] != _TAIL:
        return ""
    return str(levels[2])


def reported_topic(device: str, module: str) -> str:
    """Return the topic of what a module reports."""
    return f"{_ROOT}/{device}/{module}/twin/reported"

"""What may be called what: the name rules of images, instances, ports, routes and devices.

A name is accepted or refused, never changed: a sanitised name could collide with another one.
"""

from __future__ import annotations

import re

IMAGE_RULE = "a lower-case letter, then up to 62 of a-z, 0-9 and _"
NAME_RULE = "a letter or digit, then up to 63 of A-Z, a-z, 0-9, _ and -"
DEVICE_RULE = "a letter or digit, then up to 127 of A-Z, a-z, 0-9, ., _ and -"

_IMAGE = re.compile(r"[a-z][a-z0-9_]{0,62}")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_DEVICE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")

UPSTREAM = "$upstream"  # the endpoint of everything that leaves the device


def is_image_name(text: str) -> bool:
    """True for a valid module image name: it is a directory and a Python package."""
    return _IMAGE.fullmatch(text) is not None


def is_name(text: str) -> bool:
    """True for a valid instance, port or route name: safe as a directory, topic level and route part."""
    return _NAME.fullmatch(text) is not None


def is_device_id(text: str) -> bool:
    """True for a valid device id: safe as one MQTT topic level."""
    return _DEVICE.fullmatch(text) is not None


def input_endpoint(module: str, input_name: str) -> str:
    """Return the endpoint of one input of a module, as routes and the queue write it."""
    return f"/modules/{module}/inputs/{input_name}"

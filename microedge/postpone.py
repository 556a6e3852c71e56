"""Modules that are imported at somebody's top and then not used: loaded when they are.

paho imports ssl, and for web sockets through proxies hashlib, urllib.request (with http and email) and urllib.parse:
8 of the 28 MB of a supervisor that speaks plain MQTT. dataclasses imports inspect (with ast and dis), another MB.
A stand-in takes their place which loads the real module at the first look into it, so nothing is missing for whoever
wants them. Not `importlib.util.LazyLoader`: up to Python 3.11 its modules load as soon as a second `import` names them.
"""

from __future__ import annotations

import importlib
import sys
from types import ModuleType


def postpone(*names: str) -> None:
    """Have these modules loaded at their first use. Those that are loaded already stay as they are."""
    for name in names:
        if name in sys.modules:
            continue
        sys.modules[name] = module = _StandIn(name)
        package, _, child = name.rpartition(".")
        if package:
            setattr(importlib.import_module(package), child, module)  # `import a.b` does so only when it loads b


class _StandIn(ModuleType):
    def __getattr__(self, name: str) -> object:
        if name.startswith("__"):  # somebody walks over sys.modules and wants nothing from this one
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            del sys.modules[self.__name__]
        return getattr(importlib.import_module(self.__name__), name)

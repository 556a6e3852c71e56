"""microedge: an IoT edge runtime for constrained Linux devices, without containers.

The SDK's names are loaded on first use, so that `from microedge import ModuleClient` stays small and
`import microedge` alone costs nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from microedge.message import Message
    from microedge.method import MethodResponse
    from microedge.sdk.aio import AsyncModuleClient
    from microedge.sdk.client import ModuleClient
    from microedge.sdk.twin import DesiredPatch

__version__ = "0.1.0"
__all__ = ["AsyncModuleClient", "DesiredPatch", "Message", "MethodResponse", "ModuleClient", "__version__"]

_HOMES = {
    "AsyncModuleClient": "microedge.sdk.aio",
    "DesiredPatch": "microedge.sdk.twin",
    "Message": "microedge.message",
    "MethodResponse": "microedge.method",
    "ModuleClient": "microedge.sdk.client",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'microedge' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOMES[name]), name)

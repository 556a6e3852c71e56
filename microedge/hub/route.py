"""A route as a value: FROM a source, WHERE a condition holds, INTO a target.

Names and matching follow Azure IoT Edge: a source is a prefix of the message's path, compared segment by segment and
without regard to case. One improvement: `*` also stands for one whole segment in the middle, where edgeHub takes it
literally and never matches.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from microedge.names import UPSTREAM, input_endpoint

if TYPE_CHECKING:
    from microedge.hub.compile import Condition

LOWEST_PRIORITY = 9  # 0 is sent first

MESSAGES, TWIN, ALL = "messages", "twin", "all"


@dataclass(frozen=True)
class Source:
    """Where a message comes from. "" matches every module or every output; both are compared in lower case."""

    module: str = ""
    output: str = ""
    kind: str = MESSAGES  # what modules send, TWIN: changes of twins, or ALL of it

    def matches(self, module: str, output: str) -> bool:
        """True for a message that `module` sent on `output`."""
        if self.kind == TWIN:
            return False
        return self.module in ("", module.lower()) and self.output in ("", output.lower())

    @property
    def matches_twin_changes(self) -> bool:
        """True for messages that say what changed in a twin."""
        return self.kind != MESSAGES


@dataclass(frozen=True)
class Sink:
    """Where a route ends: the upstream, or one input of one module."""

    module: str = ""  # "" is $upstream
    input: str = ""

    @property
    def endpoint(self) -> str:
        return input_endpoint(self.module, self.input) if self.module else UPSTREAM


@dataclass(frozen=True)
class Route:
    """One route of the configuration. `ttl_s` is None where the message or the store decides."""

    name: str
    text: str
    source: Source
    sink: Sink
    condition: Condition | None = None
    priority: int = LOWEST_PRIORITY
    ttl_s: int | None = None

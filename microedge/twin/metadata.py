"""A bag of properties with its version and times: `$version` and `$metadata`. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import Any

from microedge.patch import merge_patch
from microedge.twin.document import METADATA, VERSION

LAST_UPDATED = "$lastUpdated"
NEVER = "0001-01-01T00:00:00.000Z"  # what Azure writes where there is no time yet

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def utc_text(epoch_ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601 in UTC: YYYY-MM-DDTHH:MM:SS.mmmZ."""
    moment = _EPOCH + timedelta(milliseconds=epoch_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def stamped(metadata: Mapping[str, Any], patch: Mapping[str, Any], now: str) -> dict[str, Any]:
    """Return the metadata after `patch`: what it names, and every level above that, was last updated `now`."""
    result = {**metadata, LAST_UPDATED: now}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping):
            result[key] = stamped(result.get(key, {}), value, now)
        else:
            result[key] = {LAST_UPDATED: now}
    return result


@dataclass(frozen=True)
class Bag:
    """Desired or reported properties. A value: a change makes a new one, the old one stays as it was."""

    properties: Mapping[str, Any] = field(default_factory=dict)
    version: int = 1
    metadata: Mapping[str, Any] = field(default_factory=lambda: {LAST_UPDATED: NEVER})

    def patched(self, patch: Mapping[str, Any], now: str) -> Bag:
        """Return the bag after an accepted patch: one version further, whether or not a value differs."""
        return Bag(merge_patch(self.properties, patch), self.version + 1, stamped(self.metadata, patch, now))

    def document(self) -> dict[str, Any]:
        """Return what a module and the upstream see: the properties and `$version`."""
        return {**self.properties, VERSION: self.version}

    def complete(self) -> dict[str, Any]:
        """Return what the twin document holds: the properties, `$metadata` and `$version`."""
        return {**self.properties, METADATA: self.metadata, VERSION: self.version}

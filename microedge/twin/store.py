"""The twins of a device: opens each from its file, whatever state a crash or a person left that in."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from microedge.errors import TwinError, printable
from microedge.twin.file import Loaded, TwinFile
from microedge.twin.stored import Stored, parse
from microedge.twin.twin import Twin

KEPT_REMOVED = 8
_REMOVED = ".removed"


class OpenedTwin(NamedTuple):
    """`notes` says in words what was found amiss or was edited while nobody ran; for the log and the status."""

    twin: Twin
    file: TwinFile
    notes: tuple[str, ...]


class TwinStore:
    """The directory `twins/` of the state directory. Everything here blocks."""

    def __init__(self, directory: str, device: str) -> None:
        self.directory, self._device = directory, device

    def open(
        self, instance: str, defaults: Mapping[str, Any], configured: Mapping[str, Any], *, now_ms: int
    ) -> OpenedTwin:
        """Return the twin of `instance`, with defaults and configuration taken over; it is new if it has no file.

        Writes nothing but what sets a damaged file aside: save it when `twin.dirty` says so. `now_ms` is wall-clock
        milliseconds since the epoch.

        Raises:
            OSError: the directory cannot be made, or a file cannot be read or renamed.
        """
        os.makedirs(self.directory, mode=0o700, exist_ok=True)
        file = TwinFile(os.path.join(self.directory, f"{instance}.json"))
        loaded = file.load(parse)
        notes = loaded.notes
        if loaded.value is None:
            twin = Twin(self._device, instance)
        else:
            twin, more = self._restored(instance, loaded, file, now_ms)
            notes += more
        twin.reconcile(defaults, configured, now_ms)
        return OpenedTwin(twin, file, notes)

    def retire(self, instance: str) -> None:
        """Set the twin of a name that is gone aside as `<instance>.json.removed`; without a file, do nothing.

        So nobody who gets that name later finds it. Its other copies are deleted, and so are all set aside like this
        but the newest `KEPT_REMOVED`. Not fsynced: what a power cut brings back is retired again.

        Raises:
            OSError: a file cannot be renamed or deleted.
        """
        path = os.path.join(self.directory, f"{instance}.json")
        if not os.path.isdir(self.directory):
            return
        with contextlib.suppress(FileNotFoundError):
            os.replace(path, f"{path}{_REMOVED}")
        names = os.listdir(self.directory)
        for name in names:
            if name.startswith((f"{instance}.json.previous", f"{instance}.json.refused", f"{instance}.json.damaged-")):
                os.unlink(os.path.join(self.directory, name))
        removed = [os.path.join(self.directory, name) for name in names if name.endswith(_REMOVED)]
        for old in sorted(removed, key=lambda file: os.stat(file).st_ctime_ns)[:-KEPT_REMOVED]:
            os.unlink(old)

    def _restored(
        self, instance: str, loaded: Loaded[Stored], file: TwinFile, now_ms: int
    ) -> tuple[Twin, tuple[str, ...]]:
        stored = loaded.value
        assert stored is not None
        twin = Twin.restored(self._device, instance, stored)
        if not loaded.is_current:
            twin.skip_versions()
        try:
            desired, tags = twin.apply_stored_edit(stored, now_ms)
        except TwinError as error:
            twin.must_save()
            file.keep_refused(stored.text.encode())
            return twin, (f"{file.path} was edited: {printable(error)}; refused and kept as {file.refused}",)
        edited = [effect.part for effect in (desired, tags) if effect.notification is not None]
        return twin, (f"{file.path} was edited: {' and '.join(edited)}",) if edited else ()

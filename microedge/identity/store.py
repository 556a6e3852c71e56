"""All identities of this device: loaded at the start, made when a name appears, given up when it stays away.

An identity belongs to a name. It is kept over restarts, over changes of the image, while the module is stopped or
broken. It ends when the name has been gone for a while (`GONE_S`): a directory that is deleted and copied again is an
update, one that is deleted is not. Its file stays, marked as removed; if the name comes again, it is somebody else,
with another generation id and other keys.

Identities are used as soon as they are made, and written by another thread: a power cut within the first moments of a
module's life gives it another identity at the next start, which nobody can have relied on. A rotated key is used once
it is on disk.
"""

from __future__ import annotations

import base64
import logging
import os
import time
from collections.abc import Callable, Collection
from dataclasses import replace
from functools import partial

from microedge.errors import IdentityError
from microedge.identity import files
from microedge.identity.record import GENERATION_BYTES, KEY_BYTES, Identity, decode, encode
from microedge.identity.saver import Save, Saver
from microedge.reactor import Reactor, Timer

log = logging.getLogger(__name__)

GONE_S = 60.0  # that a name may be away: long enough to delete a directory and unpack its successor by hand
_RETRY_S = 30.0  # after a write that failed: a full disk may have room again

Rotated = Callable[[str], None]
"""Called with "" once the new key is on disk and in use, or with why it is not."""


class IdentityStore:
    """Owns device.json and identities/ of a state directory. Built without I/O."""

    def __init__(self, state_dir: str, device: str, reactor: Reactor) -> None:
        self._state_dir = state_dir
        self.removed: Callable[[str], None] = lambda module: None  # called when a name is given up
        self._device = device
        self._reactor = reactor
        self._saver = Saver(reactor)
        self._identities: dict[str, Identity] = {}  # by module; "" is the device
        self._lost: set[str] = set()  # modules of which no file can be used
        self._gone: dict[str, Timer] = {}  # by module, while it may still come back
        self._saving: set[str] = set()
        self._unsaved: dict[str, str] = {}  # by module: why
        self._warnings: list[str] = []

    def open(self) -> None:
        """Load what there is; make the device's identity if there is none. Blocks for two small reads per identity.

        A damaged file is set aside and its copy used; the caller's user gets the only permission to read them.

        Raises:
            IdentityError: the directory cannot be used, or a file belongs to another user.
        """
        directory = os.path.dirname(self._file("any"))
        try:
            self._warn_if(f"{directory} ", files.private_directory(directory))
            files.remove_leftovers(directory)
            names = [name[: -len(".json")] for name in os.listdir(directory) if name.endswith(".json")]
            copies = [name[: -len(".json.copy")] for name in os.listdir(directory) if name.endswith(".json.copy")]
        except OSError as error:
            raise IdentityError(directory, f"{files.why(error)}; make it a directory of this user") from error
        for name in ["", *sorted({*names, *copies})]:
            self._load(name)
        if "" not in self._identities:
            self._create("")

    def close(self, timeout_s: float) -> None:
        """Wait until everything is written, at most `timeout_s`."""
        for timer in self._gone.values():
            timer.cancel()
        if not self._saver.close(timeout_s):
            log.error("identities could not be written to %s: they are made anew at the next start", self._state_dir)

    @property
    def warnings(self) -> list[str]:
        """What a person should know, for status; until microedge starts again."""
        unsaved = [f"identity of {_who(name)} is not on disk: {reason}" for name, reason in self._unsaved.items()]
        return [*self._warnings, *unsaved]

    def find(self, module: str = "") -> Identity:
        """Return the identity of a module, or of the device.

        Raises:
            IdentityError: there is none; the text names those that exist.
        """
        identity = self._identities.get(module)
        if identity is None:
            known = ", ".join(sorted(name for name in self._identities if name)) or "none"
            raise IdentityError(f"module {module!r}", f"it has no identity; known: {known}")
        return identity

    def all(self) -> list[Identity]:
        """Return every identity, also removed ones: the device first, then by name."""
        return [identity for _, identity in sorted(self._identities.items())]

    def generation(self, module: str) -> str:
        """Return the generation id of a module, "" when it has no identity."""
        identity = self._identities.get(module)
        return identity.generation if identity is not None else ""

    def follow(self, planned: Collection[str], known: Collection[str] | None) -> None:
        """Make an identity for each planned name that has none, and begin to give up those that are not `known`.

        `known` are the names that the configuration or the modules directory mentions, be it only in a broken image;
        None means that it is not possible to say: then nobody is given up.
        """
        for name in planned:
            identity = self._identities.get(name)
            if identity is None or identity.removed:
                self._create(name)
        self._follow_removals(self._identities if known is None else {*planned, *known})

    def rotate(self, module: str, which: str, rotated: Rotated) -> None:
        """Replace one key, "primary" or "secondary", of a module or ("") of the device. The other one stays valid.

        `rotated` is called on the loop's thread when it is done; until then both old keys are valid.

        Raises:
            IdentityError: there is no such identity, it was removed, or its file is just being written.
            ValueError: `which` is no key.
        """
        before = self.find(module)
        if before.removed:
            raise IdentityError(f"module {module!r}", f"it was removed at {before.removed} and has no valid key")
        if module in self._saving:
            raise IdentityError(before.path, "its file is just being written; try again in a moment")
        after = before.with_key(which, _new_key(), _now())

        def saved(reason: str) -> None:
            if not reason and self._identities.get(module) is before:
                self._identities[module] = after
                log.info("identity %s: new %s key; the other one stays valid", after.path, which)
            rotated(reason)

        self._save(module, after, saved)

    # --- Loading ---

    def _load(self, name: str) -> None:
        file = self._file(name)
        problems: list[str] = []
        main, copy = (self._read(path, name, problems) for path in (file, file + files.COPY))
        identity = main or copy
        if identity is None:
            if problems:
                self._lost.add(name)
                self._warn(f"identity of {_who(name)}: {'; '.join(problems)}; there is no other copy")
            return
        self._identities[name] = identity
        if main is None and not problems:
            problems.append(f"{file} was missing")
        if problems:
            self._warn(f"identity of {_who(name)}: {'; '.join(problems)}; its other copy is used")
        if main != copy:
            self._save(name, identity)

    def _read(self, path: str, name: str, problems: list[str]) -> Identity | None:
        """Return what a file holds; None, and perhaps a sentence more in `problems`, when that is nothing of use."""
        try:
            data, corrected = files.read(path)
            self._warn_if(f"{path} ", corrected)
            identity = decode(data)
        except FileNotFoundError:
            return None
        except PermissionError as error:
            reason = f"{files.why(error)}; give it to the user that runs microedge, or move it away"
            raise IdentityError(path, reason) from error
        except OSError as error:
            reason = f"cannot be read: {files.why(error)}"
        except ValueError as error:
            reason = str(error)
        else:
            if (identity.device, identity.module) == (self._device, name):
                return identity
            reason = f"it is the identity {identity.path}"
        problems.append(f"{path}: {reason}; {self._set_aside(path, name)}")
        return None

    def _set_aside(self, path: str, name: str) -> str:
        quarantine = os.path.join(self._state_dir, "quarantine")
        try:
            moved = files.set_aside(path, quarantine, f"identity-{name}" if name else "device")
        except OSError as error:
            return f"it could not be set aside: {files.why(error)}"
        return f"set aside as {moved}"

    # --- Making and removing ---

    def _create(self, name: str) -> None:
        identity = Identity(
            self._device, name, os.urandom(GENERATION_BYTES).hex(), _new_key(), _new_key(), created=_now()
        )
        if name in self._lost:
            self._lost.discard(name)
            self._warnings.append(f"{_who(name)} has a new identity, because its old one is lost")
            log.error(
                "%s has a new identity, because its old one is lost: generation=%s; tell whoever knows its old keys",
                _who(name),
                identity.generation,
            )
        else:
            log.info("identity %s made: generation=%s", identity.path, identity.generation)
        self._identities[name] = identity
        self._save(name, identity)

    def _follow_removals(self, known: Collection[str]) -> None:
        for name in known:
            timer = self._gone.pop(name, None)
            if timer is not None:
                timer.cancel()
        for name, identity in self._identities.items():
            if name and name not in known and not identity.removed and name not in self._gone:
                self._gone[name] = self._reactor.call_later(GONE_S, partial(self._remove, name))

    def _remove(self, name: str) -> None:
        del self._gone[name]
        removed = replace(self._identities[name], removed=_now())
        self._identities[name] = removed
        log.info("identity %s removed: its name has been gone for s=%.0f", removed.path, GONE_S)
        self._save(name, removed)
        self.removed(name)

    # --- Saving ---

    def _save(self, name: str, identity: Identity, done: Rotated | None = None) -> None:
        def saved(reason: str) -> None:
            self._saving.discard(name)
            if not reason:
                self._unsaved.pop(name, None)
            elif done is None:
                self._report_unsaved(name, reason)
            if done is not None:
                done(reason)

        self._saving.add(name)
        self._saver.save(Save(self._file(name), encode(identity), saved))

    def _report_unsaved(self, name: str, reason: str) -> None:
        if self._unsaved.get(name) != reason:
            log.error("identity of %s cannot be written: %s; it is lost if microedge ends now", _who(name), reason)
        self._unsaved[name] = reason
        self._reactor.call_later(_RETRY_S, lambda: self._save_again(name))

    def _save_again(self, name: str) -> None:
        if name in self._unsaved and name not in self._saving:
            self._save(name, self._identities[name])

    def _file(self, name: str) -> str:
        if not name:
            return os.path.join(self._state_dir, "device.json")
        return os.path.join(self._state_dir, "identities", f"{name}.json")

    def _warn_if(self, subject: str, text: str) -> None:
        if text:
            self._warn(subject + text)

    def _warn(self, text: str) -> None:
        self._warnings.append(text)
        log.warning("%s", text)


def _who(name: str) -> str:
    return f"module {name}" if name else "the device"


def _new_key() -> str:
    return base64.b64encode(os.urandom(KEY_BYTES)).decode()


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())

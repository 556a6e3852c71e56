"""Which module images there are: the operator's modules directory on top of the bundled one.

A scan runs no module code and parses only what changed since the previous scan, so that it can be repeated every few
seconds. A directory that is still being copied is left alone until it has been quiet for a while; meanwhile its
previous image, if there was one, stays valid.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from microedge.config.document import why
from microedge.config.fingerprint import fingerprint, is_ignored, survey
from microedge.config.image import MANIFEST, check_image_name, read_image
from microedge.config.model import BUNDLED, DROPPED_IN, Image
from microedge.errors import ModuleImageError, printable

__all__ = ["Discovery", "Entry", "fingerprint", "scan"]

_IGNORED_DIRECTORIES = ("lost+found",)  # at the top of every ext4 file system


@dataclass(frozen=True)
class Entry:
    """What a scan made of one directory: an image, a reason against it, or neither while it is incomplete."""

    fingerprint: str
    image: Image | None = None
    error: ModuleImageError | None = None
    is_settled: bool = True


@dataclass(frozen=True)
class Discovery:
    """The result of one scan.

    `images` holds what can be started, by name. `incomplete` names the directories that are being copied or have no
    manifest. `dropped_in` and `bundled` are what the next scan builds on.
    """

    images: Mapping[str, Image] = field(default_factory=dict)
    rejected: tuple[ModuleImageError, ...] = ()
    incomplete: tuple[str, ...] = ()
    dropped_in: Mapping[str, Entry] = field(default_factory=dict)
    bundled: Mapping[str, Entry] = field(default_factory=dict)


@dataclass(frozen=True)
class _Place:
    """One directory of images, and how long a change must lie back."""

    root: str
    origin: str
    settle_s: float
    now_s: float


def scan(
    modules_dir: str,
    bundled_dir: str,
    *,
    settle_s: float = 0,
    now_s: float | None = None,
    previous: Discovery | None = None,
) -> Discovery:
    """Return the images of both directories; one that does not exist holds none. Blocks for one stat per file.

    A directory of which a file changed less than `settle_s` seconds ago is incomplete. `now_s` is the wall clock,
    in seconds since the epoch; files from its future count as settled, because a clock that was set back would
    otherwise hold them up for years. With `previous`, unchanged directories are not parsed again, and the bundled
    ones, which belong to this installation, not even looked at.
    """
    now_s = time.time() if now_s is None else now_s
    before = previous or Discovery()
    own = _entries(_Place(modules_dir, DROPPED_IN, settle_s, now_s), before.dropped_in)
    bundled = before.bundled if previous else _entries(_Place(bundled_dir, BUNDLED, 0, now_s), {})
    images = {name: entry.image for name, entry in bundled.items() if entry.image and not _is_taken(own.get(name))}
    for name, entry in own.items():
        if entry.image:
            images[name] = replace(entry.image, shadows=name in bundled)
    both = [*own.values(), *bundled.values()]
    return Discovery(
        images=images,
        rejected=tuple(entry.error for entry in both if entry.error),
        incomplete=tuple(name for name, entry in own.items() if not entry.error and not _is_complete(entry)),
        dropped_in=own,
        bundled=bundled,
    )


def _is_taken(entry: Entry | None) -> bool:
    """True when a directory hides the bundled image of its name. A rejected one does, too: what the operator
    replaced must not silently come back."""
    return entry is not None and (entry.image is not None or entry.error is not None)


def _is_complete(entry: Entry) -> bool:
    return entry.is_settled and entry.image is not None


def _entries(place: _Place, before: Mapping[str, Entry]) -> dict[str, Entry]:
    try:
        names = sorted(_directories(place.root))
    except FileNotFoundError:
        return {}
    except OSError as error:
        return {"": Entry("", error=ModuleImageError(place.root, f"found no modules: {why(error)}"))}
    return {name: _entry(place, name, before.get(name)) for name in names}


def _directories(root: str) -> Iterator[str]:
    with os.scandir(root) as entries:
        for entry in entries:
            if is_ignored(entry.name) or entry.name in _IGNORED_DIRECTORIES:
                continue
            if entry.is_dir() or (entry.is_symlink() and not os.path.exists(entry.path)):
                yield entry.name


def _entry(place: _Place, name: str, before: Entry | None) -> Entry:
    directory = os.path.join(place.root, name)
    try:
        check_image_name(directory, name)
        _check_link(place.root, directory)
        return _surveyed(place, directory, before)
    except ModuleImageError as error:
        return Entry("", error=error)
    except FileNotFoundError:  # it is being removed
        return Entry("", is_settled=False)
    except OSError as error:
        return Entry("", error=ModuleImageError(directory, f"found a directory that cannot be read: {why(error)}"))


def _check_link(root: str, directory: str) -> None:
    if not os.path.islink(directory):
        return
    target = os.path.realpath(directory)
    if not target.startswith(os.path.realpath(root).rstrip(os.sep) + os.sep) or not os.path.isdir(target):
        reason = f"found a link to {printable(target)}: expected a directory within {root}; copy it instead"
        raise ModuleImageError(directory, reason)


def _surveyed(place: _Place, directory: str, before: Entry | None) -> Entry:
    # Before the manifest is read: a change in between shows as another fingerprint in the next scan.
    found = survey(directory)
    if not os.path.lexists(os.path.join(directory, MANIFEST)):
        return Entry(found.fingerprint)
    if 0 <= place.now_s - found.newest_s < place.settle_s:
        image = before.image if before else None
        return Entry("", image=image, is_settled=False)
    if before and before.is_settled and before.fingerprint == found.fingerprint:
        return before
    try:
        image = replace(read_image(directory, origin=place.origin), fingerprint=found.fingerprint)
    except ModuleImageError as error:
        return Entry(found.fingerprint, error=error)
    return Entry(found.fingerprint, image=image)

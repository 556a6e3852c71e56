"""Files that are replaced as a whole: after a power cut at any moment the old content is there, or the new one."""

from __future__ import annotations

import contextlib
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

# O_NOFOLLOW: a link in the place of the temporary file is not ours, and what it points to is not ours to write.
_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW


def replace_file(
    path: str, data: bytes, temporary: str, *, before_rename: Callable[[], None] | None = None
) -> os.stat_result:
    """Make `data` the content of `path`, by way of `temporary` in the same directory; return the new file's facts.

    Its owner alone may read it. The content is durable when this returns, its name only after `sync_directory`, so
    that several files share one. `before_rename` is called between the two. Blocks for an fsync.

    Raises:
        OSError: as the system, or `before_rename`, gives it. `path` holds what it held before; `temporary` is gone.
    """
    fd = os.open(temporary, _FLAGS, 0o600)
    try:
        with open(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(fd)
            facts = os.fstat(fd)
        if before_rename is not None:
            before_rename()
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)  # it takes room, and may hold a key
        raise
    return facts


def sync_directory(directory: str) -> None:
    """Make the names in `directory` durable; "" is the working directory. Blocks for an fsync.

    Raises:
        OSError: as the system gives it.
    """
    fd = os.open(directory or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)

"""May this user use the directories, and may nobody else read the secrets?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping

from microedge.cli.checks.outcome import FAILED, OK, WARNING, Outcome, Surroundings, skipped_without_config
from microedge.config.document import open_document
from microedge.config.load import MAX_FILE_BYTES
from microedge.config.model import Config
from microedge.errors import ConfigError

NAME = "permissions"


def find(around: Surroundings) -> list[Outcome]:
    """One outcome for each directory, one for each secret that others can read."""
    config = around.config
    if config is None:
        return skipped_without_config(NAME)
    return [
        _state(config.paths.state),
        _modules(config.paths.modules),
        *_secrets(config),
    ]


def _state(directory: str) -> Outcome:
    if not os.path.isdir(directory):
        parent = _nearest_directory(directory)
        if os.access(parent, os.W_OK | os.X_OK):
            return Outcome(NAME, OK, f"state directory {directory} will be made at the first start")
        return Outcome(
            NAME, FAILED, f"state directory {directory} cannot be made: {parent} is not writable", _own(parent)
        )
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK):
        return Outcome(NAME, FAILED, f"state directory {directory} is not writable for this user", _own(directory))
    if stat.S_IMODE(os.stat(directory).st_mode) & (stat.S_IWGRP | stat.S_IWOTH):
        found = f"state directory {directory} can be written by other users"
        return Outcome(NAME, WARNING, found, f"chmod 0700 {directory}")
    return Outcome(NAME, OK, f"state directory {directory} is writable")


def _modules(directory: str) -> Outcome:
    if not os.path.isdir(directory):
        found = f"modules directory {directory} does not exist; bundled images still work"
        return Outcome(NAME, WARNING, found, f"mkdir {directory}")
    if not os.access(directory, os.R_OK | os.X_OK):
        return Outcome(NAME, FAILED, f"modules directory {directory} cannot be read", f"chmod u+rx {directory}")
    if os.stat(directory).st_mode & stat.S_IWOTH:
        found = f"modules directory {directory}: every user of this device can put code there that microedge runs"
        return Outcome(NAME, WARNING, found, f"chmod o-w {directory}")
    return Outcome(NAME, OK, f"modules directory {directory} is readable")


def _secrets(config: Config) -> Iterator[Outcome]:
    for file in sorted(set(_secret_files(config))):
        try:
            mode = stat.S_IMODE(os.stat(file).st_mode)
        except OSError:
            continue  # the configuration did not load then, or this upstream does not use it
        if mode & (stat.S_IRWXG | stat.S_IRWXO) & ~stat.S_IRGRP or mode & stat.S_IROTH:
            found = f"secret {file} has mode {mode:04o}: other users can read it"
            yield Outcome(NAME, WARNING, found, f"chmod 0600 {file}")


def _secret_files(config: Config) -> Iterator[str]:
    """Yield the files of the private key and of every { file = "…" } in the configuration."""
    if config.upstream.key_file:
        yield config.upstream.key_file
    try:
        document = open_document(config.file, MAX_FILE_BYTES)
    except ConfigError:
        return  # edited since it was loaded
    for name in _file_values(document.table):
        yield os.path.normpath(os.path.join(os.path.dirname(config.file), name))


def _file_values(table: Mapping[str, object]) -> Iterator[str]:
    for value in table.values():
        if not isinstance(value, Mapping):
            continue
        if set(value) == {"file"} and isinstance(value["file"], str):
            yield value["file"]
        else:
            yield from _file_values(value)


def _nearest_directory(path: str) -> str:
    while not os.path.isdir(path):
        path = os.path.dirname(path)
    return path


def _own(directory: str) -> str:
    return f"sudo chown $USER {directory}, or run microedge as the user it belongs to"

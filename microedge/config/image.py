"""From a directory with a module.toml to an `Image`, without importing or compiling any of its code."""

from __future__ import annotations

import os
import re
import sys
from typing import Any

from microedge.config.document import open_document
from microedge.config.model import DROPPED_IN, FORK, INPUT_WINDOW, LAUNCHES, RESERVED_NAME, Image, Limits, Supervision
from microedge.config.packages import RANGE_RULE, REQUIREMENT_RULE, is_requirement, python_matches
from microedge.config.reader import Range, TableReader
from microedge.config.sections import INPUT_WINDOWS, read_desired, read_limits, read_permissions, read_supervision
from microedge.errors import ConfigError, ModuleImageError, literal, printable
from microedge.names import IMAGE_RULE, NAME_RULE, is_image_name, is_name

MANIFEST = "module.toml"
SCHEMA = 1
MAX_MANIFEST_BYTES = 64 * 1024

TABLES = ("module", "ports", "desired", "permissions", "limits", "supervision")
MODULE_KEYS = (
    "schema",
    "name",
    "version",
    "entry",
    "description",
    "python",
    "requires",
    "shared",
    "launch",
    "preload",
)

_ENTRY = re.compile(r"(?P<module>[A-Za-z_]\w*(?:\.[A-Za-z_]\w*){0,8}):(?P<function>[A-Za-z_]\w*)", re.ASCII)
_VERSION = re.compile(r"[0-9A-Za-z][0-9A-Za-z.+_-]{0,63}")
_DOTTED = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*){0,8}", re.ASCII)


def read_image(directory: str, *, origin: str = DROPPED_IN) -> Image:
    """Return the image in `directory`; its fingerprint is left empty. Blocks for one read and a few stats.

    Raises:
        ModuleImageError: the directory's name, its manifest, or the place of its entry is wrong; one line says which
            file, line and key, what was found and what was expected.
    """
    directory = os.path.abspath(directory)
    name, manifest = os.path.basename(directory), os.path.join(directory, MANIFEST)
    check_image_name(directory, name)
    if not _is_contained(directory, manifest):
        raise ModuleImageError(manifest, "found a link out of the modules directory: expected a file; copy it instead")
    try:
        return _image(TableReader(open_document(manifest, MAX_MANIFEST_BYTES)), directory, origin)
    except ConfigError as error:
        where = f"{error.file}:{error.line}: " if error.line else f"{error.file}: "
        raise ModuleImageError(manifest, str(error)[len(where) :], error.line) from error


def check_image_name(directory: str, name: str) -> None:
    """Check that an image may be called `name`.

    Raises:
        ModuleImageError: it may not.
    """
    if not is_image_name(name) or name == RESERVED_NAME:
        rule = IMAGE_RULE if name != RESERVED_NAME else f"another name; {RESERVED_NAME!r} stands for microedge itself"
        found = literal(name)
        raise ModuleImageError(printable(directory, 4096), f"found a directory named {found}: expected {rule}")


def _image(root: TableReader, directory: str, origin: str) -> Image:
    table = root.table("module")
    _check_schema(table)  # before unknown keys: a newer schema has some
    root.only(*TABLES)
    table.only(*MODULE_KEYS)
    name = _name(table, os.path.basename(directory))
    entry_module, entry_function = _entry(table, name, directory)
    return Image(
        name=name,
        version=_version(table),
        entry_module=entry_module,
        entry_function=entry_function,
        directory=directory,
        origin=origin,
        description=table.string("description", max_chars=200),
        python=_python(table),
        requires=table.strings("requires", is_requirement, REQUIREMENT_RULE),
        shared=table.boolean("shared", False),
        launch=table.choice("launch", FORK, LAUNCHES),
        preload=table.strings("preload", _is_stdlib, "modules of Python's standard library"),
        **_ports(root.table("ports")),
        desired=read_desired(root.table("desired")),
        permissions=read_permissions(root.table("permissions")),
        limits=Limits(**read_limits(root.table("limits"))),
        supervision=Supervision(**read_supervision(root.table("supervision"))),
    )


def _check_schema(table: TableReader) -> None:
    schema = table.integer("schema", None, Range(1, 1_000_000))
    if schema > SCHEMA:
        raise table.wrong("schema", f"{SCHEMA}", "this image is made for a newer microedge: upgrade microedge")


def _name(table: TableReader, directory_name: str) -> str:
    rule = f'"{directory_name}", the name of its directory'
    name = table.string("name", None, rule=rule)
    if name != directory_name:
        raise table.wrong("name", rule, "rename one of the two")
    return name


def _version(table: TableReader) -> str:
    rule = 'a version such as "1.2.0"'
    version = table.string("version", None, rule=rule)
    if not _VERSION.fullmatch(version):
        raise table.wrong("version", rule)
    return version


def _python(table: TableReader) -> str:
    ranges = table.string("python", max_chars=200)
    running = sys.version_info[:3]
    try:
        is_match = not ranges or python_matches(ranges, running)
    except ValueError as error:
        raise table.wrong("python", RANGE_RULE) from error
    if not is_match:
        here = ".".join(map(str, running))
        raise table.wrong("python", f"a range that includes {here}, the Python that runs here")
    return ranges


def _ports(table: TableReader) -> dict[str, Any]:
    table.only("inputs", "outputs", "input_window")
    ports: dict[str, Any] = {
        key: table.strings(key, is_name, f"port names: {NAME_RULE}") for key in ("inputs", "outputs")
    }
    ports["input_window"] = table.integer("input_window", INPUT_WINDOW, INPUT_WINDOWS)
    return ports


def _entry(table: TableReader, name: str, directory: str) -> tuple[str, str]:
    entry = table.string("entry", f"{name}:main")
    found = _ENTRY.fullmatch(entry)
    if found is None:
        raise table.wrong("entry", f'MODULE:FUNCTION, for example "{name}:main"', got=entry)
    package, *parts = found["module"].split(".")
    if package != name:
        raise table.wrong("entry", f'a module of the image\'s own package, for example "{name}:main"', got=entry)
    _check_code(table, directory, parts, entry)
    return found["module"], found["function"]


def _check_code(table: TableReader, directory: str, parts: list[str], entry: str) -> None:
    """Check that each package on the way to the entry has its file, as the import system will look for it."""
    package = os.path.basename(directory)
    for length in range(len(parts) + 1):
        stem = os.path.join(directory, *parts[:length])
        choices = [os.path.join(stem, "__init__.py")]
        if 0 < length == len(parts):
            choices.append(f"{stem}.py")
        file = next((choice for choice in choices if os.path.isfile(choice)), None)
        if file is None:
            wanted = " or ".join(os.path.join(package, os.path.relpath(choice, directory)) for choice in choices)
            raise table.wrong("entry", f"a file {wanted}", got=entry)
        if not _is_contained(directory, file):
            raise table.wrong("entry", "code within the modules directory", f"{file} is a link out of it", got=entry)


def _is_contained(directory: str, file: str) -> bool:
    """True when `file`, links resolved, lies within the directory that holds `directory`."""
    root = os.path.realpath(os.path.dirname(directory))
    return os.path.realpath(file).startswith(root.rstrip(os.sep) + os.sep)


def _is_stdlib(text: str) -> bool:
    if not _DOTTED.fullmatch(text):
        return False
    known = getattr(sys, "stdlib_module_names", None)  # new in 3.10; on 3.9 the fork server reports what it lacks
    return known is None or text.partition(".")[0] in known

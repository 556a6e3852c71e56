"""Is a module image usable? Found out without running any of its code."""

from __future__ import annotations

import ast
import importlib.util
import os
from collections.abc import Iterator

from microedge.config.image import read_image
from microedge.config.model import Image
from microedge.errors import ModuleImageError

_MAX_SOURCE_BYTES = 4 << 20


def problems_of(directory: str) -> list[str]:
    """Return one line for each thing that keeps the image in `directory` from running; empty when it is usable."""
    try:
        image = read_image(directory)
    except ModuleImageError as error:
        return [str(error)]
    problems = [text for file in _sources(directory) for text in _syntax_problem(file)]
    return problems or list(_entry_problem(image))


def _sources(directory: str) -> Iterator[str]:
    for place, folders, files in os.walk(directory):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__pycache__")))
        if place == directory and "lib" in folders:
            folders.remove("lib")  # vendored: not the author's to repair, and possibly for another Python
        yield from (os.path.join(place, name) for name in sorted(files) if name.endswith(".py"))


def _syntax_problem(file: str) -> Iterator[str]:
    try:
        _parsed(file)
    except SyntaxError as error:
        yield f"{file}:{error.lineno or 0}: {error.msg}: {(error.text or '').strip()!r}: expected valid Python"
    except (OSError, ValueError, RecursionError) as error:
        yield f"{file}: cannot be read as Python: {error}"


def _entry_problem(image: Image) -> Iterator[str]:
    file = _entry_file(image)
    if not file:
        return  # within lib/, or a file that only an installed package has
    if image.entry_function not in set(_names(_parsed(file))):
        yield f"{file}: no function {image.entry_function!r}: expected def {image.entry_function}(client): ..."


def _names(module: ast.Module) -> Iterator[str]:
    """Yield the names that the top level of a module defines or imports."""
    for node in module.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from (alias.asname or alias.name for alias in node.names)
        elif isinstance(node, ast.Assign):
            yield from (target.id for target in node.targets if isinstance(target, ast.Name))


def _entry_file(image: Image) -> str:
    """Return the file of the entry, "" when it is not in the image itself."""
    base = os.path.join(os.path.dirname(image.directory), *image.entry_module.split("."))
    for file in (os.path.join(base, "__init__.py"), f"{base}.py"):
        if os.path.isfile(file):
            return file
    return ""


def _parsed(file: str) -> ast.Module:
    with open(file, "rb") as source:
        raw = source.read(_MAX_SOURCE_BYTES)
    return ast.parse(importlib.util.decode_source(raw), file)

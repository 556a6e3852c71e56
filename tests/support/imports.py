"""Who imports whom, read from the source text: nothing is imported to find out."""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Import:
    """One imported module; `is_for_types` is True inside `if TYPE_CHECKING:`, which never runs."""

    file: str
    line: int
    target: str
    is_for_types: bool

    def __str__(self) -> str:
        return f"{self.file}:{self.line} imports {self.target}"


def python_files(directory: str) -> list[str]:
    """Return the Python files below a directory of the repository, relative to it, sorted."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / directory).rglob("*.py"))


def parse(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"), filename=file)


def imports_of(file: str) -> list[Import]:
    """Return every import of a file, wherever in the file it stands."""
    found: list[Import] = []
    _collect(parse(file), file, False, found)
    return found


def module_name(file: str) -> str:
    """Return the dotted name of a file: microedge/hub/routes.py is microedge.hub.routes."""
    parts = file[: -len(".py")].split("/")
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


def _collect(node: ast.AST, file: str, is_for_types: bool, found: list[Import]) -> None:
    if isinstance(node, ast.Import):
        found += [Import(file, node.lineno, alias.name, is_for_types) for alias in node.names]
    elif isinstance(node, ast.ImportFrom):
        found += [Import(file, node.lineno, target, is_for_types) for target in _targets(node, file)]
    elif isinstance(node, ast.If) and _is_type_checking(node.test):
        for child in node.body:
            _collect(child, file, True, found)
        for child in node.orelse:
            _collect(child, file, is_for_types, found)
    else:
        for child in ast.iter_child_nodes(node):
            _collect(child, file, is_for_types, found)


def _targets(node: ast.ImportFrom, file: str) -> list[str]:
    base = node.module or ""
    if node.level:  # a relative import; ruff forbids them in microedge/, modules may use them
        package = [part for part in file.split("/")[: -node.level] if part != "modules"]
        base = ".".join([*package, *([node.module] if node.module else [])])
    # `from package import name`: the name may be a module of its own or something inside the package.
    return [f"{base}.{alias.name}" if is_module(f"{base}.{alias.name}") else base for alias in node.names]


def _is_type_checking(test: ast.expr) -> bool:
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )

"""The numbers that the code holds itself to; a test, so that nobody has to say it in a review."""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median, quantiles

from support.imports import ROOT, parse, python_files

from microedge import errors

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 50
P90_FUNCTION_LINES = 25
MEDIAN_FUNCTION_LINES = 10
MAX_POSITIONAL = 5
BROAD_EXCEPTS = 5  # process and task boundaries, each of which names itself in the log

OURS = python_files("microedge")
ALL = OURS + python_files("modules") + python_files("firmware-tools")
MAY_PRINT = ("microedge/cli/", "microedge/sdk/run.py")

# Python's own errors that a caller may meet; AttributeError, NotImplementedError and the like are the language's.
DOCUMENTED = {name for name in dir(errors) if isinstance(getattr(errors, name), type)} | {
    name
    for name in ("ValueError", "TypeError", "KeyError", "OSError", "RuntimeError", "TimeoutError")
    if hasattr(builtins, name)
}

AnyFunction = (ast.FunctionDef, ast.AsyncFunctionDef)


@dataclass(frozen=True)
class Function:
    file: str
    name: str
    is_public: bool
    is_method: bool
    node: ast.FunctionDef

    def __str__(self) -> str:
        return f"{self.file}:{self.node.lineno} {self.name}"


def listed(findings: list[str]) -> str:
    """Return all findings, one a line: pytest would show only the first."""
    return "\n".join(["", *findings])


def functions(file: str) -> list[Function]:
    return list(_functions(parse(file), file, is_public=True, is_method=False))


def _functions(node: ast.AST, file: str, *, is_public: bool, is_method: bool) -> Iterator[Function]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, AnyFunction):
            is_open = is_public and not child.name.startswith("_")
            yield Function(file, child.name, is_open, is_method, child)
            yield from _functions(child, file, is_public=False, is_method=False)
        elif isinstance(child, ast.ClassDef):
            is_open = is_public and not child.name.startswith("_")
            yield from _functions(child, file, is_public=is_open, is_method=True)
        else:
            yield from _functions(child, file, is_public=is_public, is_method=is_method)


EVERY = [function for file in ALL for function in functions(file)]


def lines_of(node: ast.FunctionDef) -> int:
    """Return the lines of a function without its docstring: a contract is never too long."""
    lines = node.end_lineno - node.lineno + 1
    if ast.get_docstring(node) is not None:
        lines -= node.body[0].end_lineno - node.body[0].lineno + 1
    return lines


def test_a_file_fits_in_the_head():
    lengths = {file: len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in ALL}

    long = [f"{file}: {lines} lines" for file, lines in lengths.items() if lines > MAX_FILE_LINES]
    assert not long, listed(long)


def test_a_function_fits_on_a_screen():
    long = [f"{each}: {lines_of(each.node)} lines" for each in EVERY if lines_of(each.node) > MAX_FUNCTION_LINES]
    assert not long, listed(long)


def test_most_functions_are_short():
    lengths = [lines_of(each.node) for each in EVERY]

    assert median(lengths) <= MEDIAN_FUNCTION_LINES
    assert quantiles(lengths, n=10)[-1] <= P90_FUNCTION_LINES


def test_a_function_takes_few_positional_arguments():
    """Constructors are left out: a value has as many fields as it has."""

    def positional(function: Function) -> int:
        arguments = function.node.args
        decorators = {ast.unparse(decorator) for decorator in function.node.decorator_list}
        is_bound = function.is_method and "staticmethod" not in decorators
        return len(arguments.posonlyargs) + len(arguments.args) - is_bound

    many = [str(each) for each in EVERY if each.name != "__init__" and positional(each) > MAX_POSITIONAL]
    assert not many, listed(many)


def handlers(file: str) -> list[ast.ExceptHandler]:
    return [node for node in ast.walk(parse(file)) if isinstance(node, ast.ExceptHandler)]


def test_no_except_is_bare():
    assert [f"{file}:{each.lineno}" for file in ALL for each in handlers(file) if each.type is None] == []


def test_broad_excepts_are_few():
    """One that cleans up and raises the same error again hides nothing and is not counted."""
    broad = [
        f"{file}:{each.lineno}"
        for file in OURS
        for each in handlers(file)
        if each.type is not None and {"Exception", "BaseException"} & set(re.findall(r"\w+", ast.unparse(each.type)))
        if not (isinstance(each.body[-1], ast.Raise) and each.body[-1].exc is None)
    ]

    assert len(broad) <= BROAD_EXCEPTS, listed(broad)


def test_only_the_command_line_prints():
    files = [file for file in OURS + python_files("modules") if not file.startswith(MAY_PRINT)]
    calls = [(file, node) for file in files for node in ast.walk(parse(file)) if isinstance(node, ast.Call)]

    assert [f"{file}:{node.lineno}" for file, node in calls if ast.unparse(node.func) == "print"] == []


def raised_in(node: ast.AST) -> set[str]:
    """Return the errors that a function raises itself and lets out: not those of functions defined inside it."""
    found: set[str] = set()
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*AnyFunction, ast.ClassDef, ast.Lambda)):
            continue
        if isinstance(child, ast.Raise) and child.exc is not None:
            raised = child.exc.func if isinstance(child.exc, ast.Call) else child.exc
            found.add(ast.unparse(raised).rsplit(".", 1)[-1])
        found |= raised_in(child) - caught_by(child)
    return found


def caught_by(node: ast.AST) -> set[str]:
    """Return the names that the handlers of a `try` catch. What a handler itself raises has another name by custom."""
    types = [handler.type for handler in getattr(node, "handlers", []) if handler.type is not None]
    return {name for kind in types for name in re.findall(r"\w+", ast.unparse(kind))}


def test_a_public_function_documents_what_it_raises():
    missing = []
    for each in EVERY:
        _, _, section = (ast.get_docstring(each.node) or "").partition("Raise")  # a section, or "Raise X unless ..."
        raised = DOCUMENTED.intersection(raised_in(each.node)) if each.is_public else set()
        missing += [f"{each}: {name}" for name in sorted(raised) if name not in section]

    assert not missing, listed(missing)


def test_every_file_opens_with_its_subject():
    assert [file for file in ALL if not ast.get_docstring(parse(file))] == []

"""What the README and docs/ say is so: links lead somewhere, targets, commands and keys exist and are documented.

A page that is not written yet is skipped; a page that exists is held to all of it.
"""

from __future__ import annotations

import argparse
import ast
import re
import shlex

import pytest
from support.imports import ROOT, parse, python_files

from microedge.message import MAX_MESSAGE_BYTES, MAX_PROPERTIES, MAX_TTL_S
from microedge.wire import MAX_FRAME_BYTES, MAX_HEAD_BYTES

PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
PAGES += [*sorted((ROOT / "modules").glob("*/README.md")), *sorted((ROOT / "firmware-tools").glob("*.md"))]
README = ROOT / "README.md"

# The getters of microedge.config.reader.TableReader: their first argument is a key that a file may hold.
GETTERS = {
    "string",
    "integer",
    "number",
    "boolean",
    "choice",
    "strings",
    "table",
    "path_of",
    "readable_file",
    "secret",
}


def text_of(path) -> str:
    return path.read_text(encoding="utf-8") if path.exists() else ""


def name_of(path) -> str:
    return path.relative_to(ROOT).as_posix()


def prose(text: str) -> str:
    """Return a page without its code blocks: what looks like a link in there is none."""
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)


def code_lines(text: str) -> list[str]:
    """Return the lines of all code blocks without prompt and comment; of a console block, only what is typed."""
    blocks = re.findall(r"^```([^\n]*)\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    lines = [line for kind, block in blocks for line in block.splitlines() if kind != "console" or line[:2] == "$ "]
    return [re.sub(r"^\$ ", "", line).split("  #")[0].strip() for line in lines]


def anchors(text: str) -> set[str]:
    """Return the anchors that a Markdown viewer makes of the headings."""
    headings = re.findall(r"^#+ +(.*?) *$", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def targets_of_the_makefile() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", text_of(ROOT / "Makefile"), flags=re.MULTILINE))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_relative_link_leads_somewhere(page):
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(text_of(page))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = page.parent / file if file else page
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(text_of(target))):
            broken.append(link)

    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_make_target_that_is_named_exists(page):
    text = text_of(page)
    named = set(re.findall(r"`make ([a-z][a-z-]*)", text))
    named |= {line.split()[1] for line in code_lines(text) if re.match(r"make [a-z]", line)}

    assert named - targets_of_the_makefile() == set()


def test_every_make_target_explains_itself():
    makefile = text_of(ROOT / "Makefile")
    described = set(re.findall(r"^([a-z][a-z-]*):.*## ", makefile, flags=re.MULTILINE))

    assert targets_of_the_makefile() == described


def test_every_make_target_is_phony():
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)$", text_of(ROOT / "Makefile"), flags=re.MULTILINE)

    assert set(phony[1].replace("\\\n", " ").split()) == targets_of_the_makefile()


def keys_read_by(file: str) -> set[str]:
    """Return the keys that a reader asks for: literal arguments of the getters, and the tables *_RANGES and *_KEYS."""
    found: set[str] = set()
    for node in ast.walk(parse(file)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            arguments = node.args if node.func.attr == "only" else node.args[:1] if node.func.attr in GETTERS else []
            found |= strings_in(arguments)
        elif isinstance(node, ast.Assign) and re.fullmatch(r"[A-Z_]*(RANGES|KEYS)", ast.unparse(node.targets[0])):
            entries = node.value.keys if isinstance(node.value, ast.Dict) else getattr(node.value, "elts", [])
            found |= strings_in(entries)
    return found


def strings_in(nodes) -> set[str]:
    return {node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)}


def test_every_configuration_key_is_documented():
    pages = "\n".join(text_of(page) for page in PAGES if page.parent.name == "docs")
    keys = {key for file in python_files("microedge/config") for key in keys_read_by(file)}

    assert len(keys) > 20, "the keys are no longer found by this test"
    assert sorted(key for key in keys if not re.search(rf"(?<![\w-]){re.escape(key)}(?![\w-])", pages)) == []


@pytest.mark.parametrize(
    "limit",
    [MAX_MESSAGE_BYTES, MAX_PROPERTIES, MAX_TTL_S, MAX_HEAD_BYTES, MAX_FRAME_BYTES],
)
def test_the_page_of_limits_gives_the_limits_of_the_code(limit):
    assert re.search(rf"(?<![\d,]){limit:,}(?![\d,]\d)", text_of(ROOT / "docs" / "limits.md"))


def the_parser() -> argparse.ArgumentParser:
    arguments = pytest.importorskip("microedge.cli.arguments", reason="there is no command line yet")
    return arguments.build()


def commands_of(parser: argparse.ArgumentParser) -> list[str]:
    actions = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [name for action in actions for name in action.choices]


def test_every_command_is_documented():
    commands = commands_of(the_parser())
    if "microedge run" not in text_of(README):
        pytest.skip("the README is not written yet")
    pages = "\n".join(text_of(page) for page in PAGES)

    assert commands
    assert [name for name in commands if not re.search(rf"microedge (\S+ )*?{name}\b", pages)] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_command_line_that_is_shown_is_accepted(page, capsys):
    parser = the_parser()
    refused = []
    for line in code_lines(text_of(page)):
        if not line.startswith("microedge "):
            continue
        words = shlex.split(re.split(r" (?:&&|\|\||[|;<>&]) ?", line)[0], comments=True)[1:]
        try:
            parser.parse_args(words)
        except SystemExit as stop:
            if stop.code:
                refused.append(line)
    capsys.readouterr()

    assert refused == []


def test_the_readme_has_the_length_that_is_read():
    lines = len(text_of(README).splitlines())
    if lines < 20:
        pytest.skip("the README is not written yet")

    assert 100 <= lines <= 160


def test_the_changelog_names_the_version_that_is_built():
    from microedge import __version__

    assert f"## [{__version__}]" in text_of(ROOT / "CHANGELOG.md")

"""What the reference pages list is what the code has: messages, fields of documents, files, decisions."""

from __future__ import annotations

import ast
import re

import pytest
from support.imports import ROOT, parse, python_files

DOCS = ROOT / "docs"
OPERATE = (DOCS / "operate.md").read_text(encoding="utf-8")


def section(text: str, heading: str) -> str:
    return text.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all table rows but headings and rulers."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line.strip("|").split("|") for line in lines if not set(line) <= set("|- ")][1:]


def sources() -> str:
    """Return all code, with string literals that stand behind each other joined as Python joins them."""
    files = [*(ROOT / "microedge").rglob("*.py"), *(ROOT / "modules").rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    text = re.sub(r"\"\s*\n\s*f?\"", "", text)
    return re.sub(r"\{[^{}\n]*\}|%(?:\.\d)?[sdrfg]", "", text)  # what is filled in


def shown_messages() -> list[str]:
    cells = [row[0] for row in rows(section(OPERATE, "Troubleshooting"))]
    return [message for cell in cells for message in re.findall(r"`([^`]+)`", cell)]


def fixed_part(message: str) -> str:
    """Return the longest part of a message that holds no placeholder: a word in capitals, or three dots."""
    parts = re.split(r"\.\.\.|\b[A-Z]+\b|\[|\]", message)
    return max((part.strip(" :;()/,") for part in parts), key=len)


@pytest.fixture(scope="module")
def code() -> str:
    return sources()


@pytest.mark.parametrize("message", shown_messages())
def test_a_message_in_the_troubleshooting_table_is_one_that_the_code_has(message, code):
    is_there = fixed_part(message) in code  # not in the assert: it would print all of the code

    assert is_there


def keys_of_dicts_in(file: str) -> set[str]:
    dicts = [node for node in ast.walk(parse(file)) if isinstance(node, ast.Dict)]
    return {key.value for node in dicts for key in node.keys if isinstance(key, ast.Constant) and key.value}


@pytest.mark.parametrize(
    "file", ["microedge/supervisor/status.py", "microedge/queue/status.py", "microedge/upstream/state.py"]
)
def test_every_field_of_the_status_document_is_documented(file):
    text = section(OPERATE, "The status document")

    assert sorted(key for key in keys_of_dicts_in(file) if not re.search(rf"\b{key}\b", text)) == []


def test_the_code_tour_names_every_file_but_those_of_the_command_line():
    tour = (DOCS / "code-tour.md").read_text(encoding="utf-8")
    files = [file for file in python_files("microedge") if "/cli/" not in str(file)]
    names = {str(file).rpartition("/")[2] for file in files} - {"__init__.py", "__main__.py"}

    assert sorted(name for name in names if not re.search(rf"\b{re.escape(name)}", tour)) == []


def test_the_code_tour_names_no_file_that_is_not_there():
    tour = (DOCS / "code-tour.md").read_text(encoding="utf-8")
    named = {name.rpartition("/")[2] for name in re.findall(r"`([a-z_/]+\.py)`", tour)}
    present = {path.name for folder in ("microedge", "modules") for path in (ROOT / folder).rglob("*.py")}

    assert sorted(named - present) == []


def test_every_page_is_reached_from_the_index():
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"index.md", "benchmarks.md"}

    assert sorted(page for page in pages if f"({page})" not in index) == []

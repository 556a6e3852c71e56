"""What docs/routes.md shows is what the commands print, on the files that it shows."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from support.imports import ROOT

from microedge.cli.main import main
from microedge.hub.facts import SYSTEM_PROPERTIES
from microedge.hub.functions import FUNCTIONS

PAGE = (ROOT / "docs" / "routes.md").read_text(encoding="utf-8")
FILES = re.findall(r"^<!-- file: (\S+) -->\n```\w+\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
SHOWN = re.findall(r"^```console\n\$ (microedge .*?)\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(("command", "output"), SHOWN, ids=[command for command, _ in SHOWN])
def test_a_command_prints_what_the_page_shows(command, output, tmp_path: Path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROEDGE_CONFIG", raising=False)
    for name, text in FILES:
        Path(name).write_text(text, encoding="utf-8")

    main(shlex.split(command)[1:])

    printed = capsys.readouterr()
    assert printed.out + printed.err == output


def test_the_page_shows_something():
    assert len(SHOWN) > 3
    assert [name for name, _ in FILES] == ["microedge.toml", "reading.json", "text.json"]


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_documented(name):
    assert re.search(rf"`{name}\(", PAGE)


@pytest.mark.parametrize("name", SYSTEM_PROPERTIES)
def test_every_system_property_is_documented(name):
    assert re.search(rf"`\${name}`", PAGE, flags=re.IGNORECASE)

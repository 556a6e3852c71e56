from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from microedge.cli.arguments import build
from microedge.cli.main import main

READING = (
    ["status"],
    ["list"],
    ["logs", "a"],
    ["tail"],
    ["check"],
    ["version"],
    ["queue", "status"],
    ["identity", "show"],
    ["twin", "get", "a"],
    ["twin", "history", "a"],
    ["module", "check", "d"],
    ["serial", "list"],
    ["route", "test", "FROM /* INTO $upstream", "--message", "-"],
)
ACTING = (
    ["init"],
    ["start", "a"],
    ["stop", "a"],
    ["restart", "a"],
    ["send", "a", "i", "1"],
    ["run", "--live"],
    ["module", "new", "a"],
    ["twin", "set", "a", "b=1"],
    ["identity", "rotate", "a"],
    ["identity", "rotate", "--device", "--which", "primary"],
)


@pytest.mark.parametrize("verb", READING, ids=" ".join)
def test_every_reading_command_takes_json(verb):
    assert build().parse_args([*verb, "--json"]).json
    assert not build().parse_args(verb).json


@pytest.mark.parametrize("verb", [*READING, *ACTING], ids=" ".join)
def test_the_configuration_may_be_named_before_or_after_the_verb(verb):
    assert build().parse_args(["--config", "x.toml", *verb]).config == "x.toml"
    assert build().parse_args([*verb, "--config", "x.toml"]).config == "x.toml"
    assert build().parse_args(verb).config is None


@pytest.mark.parametrize("verb", [*READING, *ACTING], ids=" ".join)
def test_every_command_has_its_function(verb):
    module, function = build().parse_args(verb).call.split(":")

    assert callable(getattr(importlib.import_module(f"microedge.cli.{module}"), function))


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (["statsu"], "microedge: unknown command 'statsu'; did you mean 'status'?\n  see: microedge --help"),
        (["zzz"], "unknown command 'zzz'; known are init, run, check, status"),
        (["module", "nwe"], "microedge module: unknown command 'nwe'; did you mean 'new'?"),
        (["queue"], "microedge queue: which command?\n  see: microedge queue --help"),
        (["logs"], "the following arguments are required: NAME\n  see: microedge logs --help"),
        (["logs", "a", "-n", "x"], "expected a whole number, found 'x'"),
        (["status", "--bogus"], "unrecognized arguments: --bogus"),
        ([], "first steps:"),
    ],
)
def test_a_wrong_command_line_says_what_to_write(capsys, line, text):
    assert main(line) == 2
    assert text in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["init", "run", "check", "status", "logs", "tail", "start", "send"])
def test_the_help_of_a_command_has_examples(capsys, verb):
    assert main([verb, "--help"]) == 0
    assert f"examples:\n  microedge {verb}" in capsys.readouterr().out


def test_the_help_documents_the_exit_codes(capsys):
    assert main(["--help"]) == 0

    out = capsys.readouterr().out
    assert "exit codes:" in out
    assert "  3   microedge is not running" in out


def test_parsing_a_command_line_loads_nothing_heavy():
    code = "import sys; from microedge.cli.main import main; main(['--help']); print('loaded', *sys.modules)"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    loaded = out.partition("loaded ")[2].split()

    heavy = {"asyncio", "ssl", "sqlite3", "psutil", "paho", "dataclasses", "logging", "socket", "pathlib", "json"}
    assert not heavy & set(loaded)
    assert not {name for name in loaded if name.startswith(("microedge.config", "microedge.supervisor"))}


@pytest.mark.parametrize(
    "line",
    ["a --tags b=1 c=2", "a b=1 --tags c=2", "a b=1 c=2 --tags", "--tags a b=1 c=2"],
)
def test_options_of_twin_set_may_stand_anywhere(line):
    args = build().parse_args(["twin", "set", *line.split(), "--unset", "d"])

    assert (args.name, args.changes, args.tags, args.unset) == ("a", ["b=1", "c=2"], True, ["d"])


def test_one_part_of_a_twin_is_shown_or_all_of_it(capsys):
    assert build().parse_args(["twin", "get", "a"]).part == ""
    assert build().parse_args(["twin", "get", "a", "--tags"]).part == "tags"
    assert main(["twin", "get", "a", "--tags", "--desired"]) == 2
    assert "not allowed with" in capsys.readouterr().err

"""`microedge route test`: what it prints, and what it ends with."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from microedge.cli.main import main

ALARM = {"module": "north", "output": "alarms", "properties": {"state": "on"}, "body": {"level": 2}}


@pytest.fixture(autouse=True)
def _nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration in sight."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MICROEDGE_CONFIG", raising=False)


def run(route: str, message: object, monkeypatch: pytest.MonkeyPatch, *options: str) -> int:
    monkeypatch.setattr("sys.stdin", io.StringIO(json.dumps(message)))
    return main(["route", "test", route, "--message", "-", *options])


def test_a_route_that_does_not_match_is_explained_clause_by_clause(capsys, monkeypatch):
    code = run("FROM /* WHERE $body.level >= 3 AND mode = 'x' INTO $upstream", ALARM, monkeypatch)

    assert code == 1
    assert capsys.readouterr().out.splitlines() == [
        "message    /messages/modules/north/outputs/alarms, application/json, utf-8, 12 bytes",
        "source     matches: the route takes all messages and changes of twins",
        "condition  false",
        "  false       $body.level >= 3 AND mode = 'x'",
        "    false       $body.level >= 3",
        "      2           $body.level",
        "    undefined   mode = 'x'",
        "      undefined   mode  (the message has no application property mode; it has: state)",
        "result     no match: the condition is false",
    ]


@pytest.mark.parametrize(
    ("route", "code", "result"),
    [
        ("FROM /* WHERE state = 'on' INTO $upstream", 0, "match: it goes INTO $upstream, priority 9"),
        (
            'FROM /* INTO BrokeredEndpoint("/modules/m/inputs/i")',
            0,
            "match: it goes INTO /modules/m/inputs/i, priority 9",
        ),
        ("FROM /messages/modules/south/* INTO $upstream", 1, "no match: another source"),
        ("FROM /* WHERE $body.none INTO $upstream", 1, "no match: the condition is null"),
        ("FROM /* WHERE mode = 'x' INTO $upstream", 1, "no match: the condition is undefined"),
    ],
)
def test_the_last_line_says_the_result(capsys, monkeypatch, route, code, result):
    assert run(route, ALARM, monkeypatch) == code
    assert capsys.readouterr().out.splitlines()[-1] == f"result     {result}"


def test_json_holds_every_clause_and_tells_undefined_from_null(capsys, monkeypatch):
    assert run("FROM /* WHERE mode = 'x' OR $body.level < 1 / 0 INTO $upstream", ALARM, monkeypatch, "--json") == 0

    document = json.loads(capsys.readouterr().out)
    undefined, comparison = document["condition"]["parts"]
    assert (document["matches"], document["endpoint"], document["priority"]) == (True, "$upstream", 9)
    assert document["source"] == {"path": "/messages/modules/north/outputs/alarms", "matches": True}
    assert (undefined["value"], undefined["defined"]) == (None, False)
    assert [part["value"] for part in comparison["parts"]] == [2.0, "inf"]


def test_a_wrong_route_is_shown_with_a_caret(capsys, monkeypatch):
    assert run("FROM /* WHERE level > 3 INTO $upstream", ALARM, monkeypatch) == 78

    assert capsys.readouterr().err.splitlines() == [
        "microedge: route test: column 15: expected a number, as on the other side of >; properties are text, "
        "write as_number(level), found 'level'",
        "  FROM /* WHERE level > 3 INTO $upstream",
        "                ^ expected a number, as on the other side of >; properties are text, write as_number(level)",
    ]


def test_a_configured_route_is_named_and_its_device_is_known(capsys, monkeypatch):
    Path("microedge.toml").write_text(
        '[device]\nid = "greenhouse-7"\n[routes]\n'
        "here = { route = \"FROM /* WHERE $connectionDeviceId = 'greenhouse-7' INTO $upstream\", priority = 2 }\n"
    )

    assert run("here", ALARM, monkeypatch) == 0
    assert "INTO $upstream, priority 2" in capsys.readouterr().out
    assert run("there", ALARM, monkeypatch) == 2
    assert "no route is called 'there'\n  the configuration has: here" in capsys.readouterr().err


def test_a_name_without_a_configuration_is_no_route(capsys, monkeypatch):
    assert run("alarms", ALARM, monkeypatch) == 2
    assert "no route is called 'alarms'\n  there is no configuration" in capsys.readouterr().err


def test_a_configuration_that_is_named_must_be_there(capsys, monkeypatch):
    assert run("FROM /* INTO $upstream", ALARM, monkeypatch, "--config", "none.toml") == 78


def test_a_message_in_a_file(capsys):
    Path("m.json").write_text(json.dumps(ALARM))
    Path("latin.json").write_bytes(b'{"body": "\xe4"}')
    route = "FROM /messages/modules/north/outputs/alarms INTO $upstream"

    assert main(["route", "test", route, "--message", "m.json"]) == 0
    assert main(["route", "test", route, "--message", "none.json"]) == 2
    assert main(["route", "test", route, "--message", "latin.json"]) == 2
    err = capsys.readouterr().err
    assert "cannot read none.json: No such file or directory" in err
    assert "cannot read latin.json: it is not UTF-8" in err


def test_what_a_message_holds_cannot_move_the_cursor(capsys, monkeypatch):
    message = {"body": {"a": "\x1b[2J"}, "properties": {}}

    assert run("FROM /* WHERE $body.a = '\x1b[31m' INTO $upstream", message, monkeypatch) == 1
    assert "\x1b" not in capsys.readouterr().out


def test_a_module_gives_what_the_sdk_of_iot_edge_has_fields_for_as_properties(monkeypatch):
    message = {"properties": {"$userId": "anna"}}

    assert run("FROM /* WHERE $userId = 'anna' INTO $upstream", message, monkeypatch) == 0
    assert run("FROM /* WHERE {$userId} = 'anna' INTO $upstream", message, monkeypatch) == 1

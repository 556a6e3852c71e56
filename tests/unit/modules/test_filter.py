"""The filter's rules, one by one and together: what goes on, what is held back, and what an operator may write."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

import pytest
from support.module_hub import ModuleHub
from support.serial_line import ROOT, load_package

from microedge import wire
from microedge.message import Envelope, Message, pack

load_package("modules", "filter")
from filter import settings  # noqa: E402
from filter.facts import (  # noqa: E402 (the package is where no import finds it)
    ABSENT,
    Facts,
    Match,
    path_of,
    source_of,
)
from filter.gate import Gate  # noqa: E402
from filter.judge import Judge  # noqa: E402
from filter.rules import token_of  # noqa: E402
from filter.settings import Settings, SettingsError  # noqa: E402

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

NORTH = ("north", "readings")
BAND = {"kind": "deadband", "field": "t", "absolute": 1}
HOT = {"kind": "threshold", "field": "t", "above": 30}
RATE = {"kind": "rate", "interval_s": 10}
CHANGE = {"kind": "change", "field": "door"}


def judge(*rules: dict[str, Any], **settings: Any) -> Judge:
    return Judge(Settings({"rules": list(rules), **settings}))


def facts(body: object, source: tuple[str, str] = NORTH, **properties: str) -> Facts:
    return Facts(source, properties, body if isinstance(body, bytes) else json.dumps(body).encode())


def passing(judging: Judge, bodies: list[Any], step_s: float = 1.0) -> list[Any]:
    """Return the bodies that go on when one comes each `step_s`."""
    return [body for turn, body in enumerate(bodies) if judging.decide(facts(body), turn * step_s).passes]


def values(judging: Judge, numbers: list[float]) -> list[float]:
    return [body["t"] for body in passing(judging, [{"t": number} for number in numbers])]


# --- One rule at a time ---


@pytest.mark.parametrize(
    ("rule", "numbers", "expected"),
    [
        ({"above": 30}, [29, 30, 30.1, 31, 30, 29], [30.1, 31]),
        ({"below": 5}, [6, 5, 4.9, 5, 4], [4.9, 4]),
        ({"above": 30, "hysteresis": 2}, [29, 31, 29, 28.1, 28, 29, 31], [31, 29, 28.1, 31]),
        ({"below": 5, "hysteresis": 2}, [4, 6, 6.9, 7, 6], [4, 6, 6.9]),
        ({"above": 30, "below": 5, "hysteresis": 2}, [31, 29, 4, 6, 10, 29], [31, 29, 4, 6]),
        ({"above": 30, "crossings_only": True}, [20, 21, 31, 32, 30, 29, 31], [20, 31, 30, 31]),
        ({"above": 30, "hysteresis": 2, "crossings_only": True}, [31, 29, 28, 31], [31, 28, 31]),
        ({"above": 30, "below": 5, "crossings_only": True}, [31, 4, 3, 10], [31, 4, 10]),
    ],
)
def test_a_threshold_passes_what_lies_beyond_it_until_it_is_back_by_the_hysteresis(rule, numbers, expected):
    assert values(judge({"kind": "threshold", "field": "t", **rule}), numbers) == expected


def test_without_pass_first_a_crossing_is_one_from_inside():
    crossings = {**HOT, "crossings_only": True}

    assert values(judge(crossings, pass_first=False), [20, 31, 32]) == [31]
    assert values(judge(crossings, pass_first=False), [31, 32, 20]) == [31, 20]


@pytest.mark.parametrize(
    ("rule", "numbers", "expected"),
    [
        ({"absolute": 1}, [20, 20.9, 21, 20.1, 20], [20, 21, 20]),
        ({"absolute": 1}, [20, 20.5, 21.0, 21.5, 22.0], [20, 21.0, 22.0]),  # a drift adds up
        ({"absolute": 0.1}, [20.1, 20.2, 20.3], [20.1, 20.2, 20.3]),  # 20.2 - 20.1 is 0.0999...
        ({"percent": 10}, [100, 109, 110, 120.9, 121, 108.9], [100, 110, 121, 108.9]),
        ({"percent": 10}, [0, 0, 0.001, 0.001], [0, 0.001]),
        ({"percent": 10, "absolute": 2}, [1, 1.2, 3, 100, 102, 110], [1, 3, 100, 110]),
        ({"percent": 10}, [-100, -109, -110], [-100, -110]),
        ({"absolute": 1}, [1e308, -1e308], [1e308, -1e308]),
    ],
)
def test_a_dead_band_passes_what_differs_enough_from_the_last_that_passed(rule, numbers, expected):
    assert values(judge({"kind": "deadband", "field": "t", **rule}), numbers) == expected


def test_without_pass_first_the_first_value_is_only_what_the_next_are_compared_with():
    assert values(judge(BAND, pass_first=False), [20, 20.5, 21]) == [21]
    assert passing(judge(CHANGE, pass_first=False), [{"door": 0}, {"door": 0}, {"door": 1}]) == [{"door": 1}]


def test_a_rate_passes_one_per_interval_whatever_its_body():
    assert passing(judge(RATE), [b"0", b"\xff", b"2", b"3"], step_s=5) == [b"0", b"2"]


@pytest.mark.parametrize(
    ("rule", "bodies", "expected"),
    [
        (CHANGE, [{"door": "open"}, {"door": "open", "n": 1}, {"door": "shut"}], [{"door": "open"}, {"door": "shut"}]),
        (CHANGE, [{"door": 21}, {"door": 21.0}, {"door": None}], [{"door": 21}, {"door": None}]),
        (CHANGE, [{"door": 1}, {"door": True}], [{"door": 1}, {"door": True}]),
        (CHANGE, [{"door": [1]}, {"door": [1]}, {"door": [1, 2]}], [{"door": [1]}, {"door": [1, 2]}]),
        ({"kind": "change"}, [{"a": 1, "b": 2}, {"b": 2, "a": 1}, {"a": 1}], [{"a": 1, "b": 2}, {"a": 1}]),
    ],
)
def test_a_change_passes_what_is_another_json_value(rule, bodies, expected):
    assert passing(judge(rule), bodies) == expected


def test_a_long_value_is_remembered_by_a_short_token():
    token = token_of("x" * 100_000)

    assert len(repr(token)) < 64
    assert token == token_of("x" * 100_000)
    assert token != token_of("x" * 99_999 + "y")


# --- Rules together ---


def test_all_needs_every_rule_and_any_needs_one():
    numbers = [20, 31, 31.5, 33, 20]

    assert values(judge(BAND, HOT), numbers) == [31, 33]
    assert values(judge(BAND, HOT, mode="any"), numbers) == [20, 31, 31.5, 33, 20]


def test_what_one_rule_holds_back_is_not_what_the_next_value_is_compared_with():
    bodies = [{"t": value} for value in (20, 25, 25, 25, 25)]
    judging = judge(BAND, {"kind": "rate", "interval_s": 3})

    assert [judging.decide(facts(body), now_s).passes for now_s, body in enumerate(bodies)] == [
        True, False, False, True, False,
    ]  # fmt: skip


def test_a_rule_is_about_the_messages_that_it_matches_and_others_go_on():
    judging = judge({**HOT, "match": {"module": "north", "property": "site", "equals": "roof"}})

    assert not judging.decide(facts({"t": 1}, site="roof"), 0).passes
    assert judging.decide(facts({"t": 1}, site="cellar"), 0).passes
    assert judging.decide(facts({"t": 1}, ("south", "readings"), site="roof"), 0).passes


@pytest.mark.parametrize(
    ("match", "fits"),
    [
        (Match(), True),
        (Match(module="north"), True),
        (Match(module="south"), False),
        (Match(output="readings"), True),
        (Match(module="north", output="alarms"), False),
        (Match(property="unit"), True),
        (Match(property="unit", equals="Cel"), True),
        (Match(property="unit", equals=""), False),
        (Match(property="none"), False),
    ],
)
def test_a_match_asks_for_all_that_it_names(match, fits):
    assert match.fits(facts({}, unit="Cel")) is fits


def test_each_source_is_compared_with_itself():
    judging = judge(BAND)
    sources = [NORTH, ("north", "raw"), ("south", "readings")]

    assert [judging.decide(facts({"t": 20}, source), 0).passes for source in sources * 2] == [True] * 3 + [False] * 3


def test_the_source_that_was_silent_for_the_longest_is_forgotten_for_a_new_one():
    judging = Judge(Settings({"rules": [BAND]}), max_sources=2)
    for name in ("a", "b", "a", "c"):
        judging.decide(facts({"t": 20}, (name, "out")), 0)

    assert [judging.decide(facts({"t": 20}, (name, "out")), 0).passes for name in ("a", "b")] == [False, True]
    assert (judging.status()["sources"], judging.status()["forgotten_sources"]) == (2, 2)


def test_a_heartbeat_passes_what_the_rules_refuse_when_nothing_has_passed_for_so_long():
    judging = judge(HOT, heartbeat_s=10)

    assert [now_s for now_s in range(0, 40, 4) if judging.decide(facts({"t": 20}), now_s).passes] == [12, 24, 36]
    assert judging.status()["heartbeats"] == 3


# --- Fields that are not there ---


NO_NUMBER = {
    "empty": b"",
    "no text": b"\xff",
    "no JSON": b"t = 20",
    "nested beyond reason": b"[" * 100_000,
    "a text": b'"t"',
    "a list": b"[1]",
    "no such field": b"{}",
    "digits as text": b'{"t": "20"}',
    "true": b'{"t": true}',
    "null": b'{"t": null}',
    "an object": b'{"t": {"t": 1}}',
    "not a number": b'{"t": NaN}',
    "beyond a float": b'{"t": 1e999}',
    "a whole number beyond a float": b'{"t": 1' + b"0" * 400 + b"}",
}


@pytest.mark.parametrize("body", NO_NUMBER.values(), ids=NO_NUMBER)
def test_a_body_without_the_number_passes_or_is_dropped_as_missing_says(body):
    for missing in ("pass", "drop"):
        judging = judge(HOT, missing=missing)
        decision = judging.decide(facts(body), 0)

        assert decision.passes is (missing == "pass")
        assert [rule.name for rule in decision.missed] == ["threshold-1"]
        assert judging.status()["field_missing"] == {"threshold-1": 1}


@pytest.mark.parametrize(
    ("mode", "missing", "other_votes", "expected"),
    [
        ("all", "pass", True, True),
        ("all", "pass", False, False),
        ("all", "drop", True, False),
        ("any", "pass", False, True),
        ("any", "drop", True, True),
        ("any", "drop", False, False),
    ],
)
def test_a_rule_without_its_field_votes_as_missing_says(mode, missing, other_votes, expected):
    judging = judge(BAND, {**HOT, "field": "other"}, mode=mode, missing=missing)

    assert judging.decide(facts({"other": 31 if other_votes else 1}), 0).passes is expected


def test_a_heartbeat_does_not_pass_what_has_no_field():
    judging = judge(HOT, missing="drop", heartbeat_s=1)

    assert not any(judging.decide(facts({}), now_s).passes for now_s in range(10))
    assert judging.status()["dropped_missing"] == 10


def test_a_field_is_found_in_objects_and_arrays():
    found = facts({"probes": [{"t": 1}, {"t": 2}], "a": {"b": {"c": None}}})

    assert found.value_at(path_of("probes.1.t")) == 2
    assert found.value_at(path_of("$body.a.b.c")) is None
    assert found.value_at(path_of("$body"))["a"] == {"b": {"c": None}}
    for field in ("probes.2.t", "probes.t", "probes.-1", "a.b.c.d", "b"):
        assert found.value_at(path_of(field)) is ABSENT


# --- Sources and counters ---


def test_a_message_that_has_passed_another_filter_comes_from_its_first_sender():
    marks = {"source-module": "north", "source-output": "readings"}

    assert source_of("calm", "out", marks) == NORTH
    assert source_of("calm", "out", {"source-module": "north"}) == ("calm", "out")
    assert source_of("calm", "out", {**marks, "source-output": "x" * 65}) == ("calm", "out")


def test_each_message_is_counted_once_at_the_first_rule_that_refuses_it():
    judging = judge({**BAND, "name": "calm"}, HOT, missing="drop")
    passing(judging, [{"t": 20}, {"t": 20}, {"t": 31}, {"t": 31}, {}])

    assert judging.status() == {
        "received": 5,
        "passed": 1,
        "heartbeats": 0,
        "dropped": {"calm": 1, "threshold-2": 2},
        "dropped_missing": 1,
        "field_missing": {"calm": 1, "threshold-2": 1},
        "sources": 1,
        "forgotten_sources": 0,
    }


# --- What goes out ---


def sent_for(envelope: Envelope, body: bytes) -> list[tuple[Envelope, bytes]]:
    """Return what a filter sends when one message of north comes in, its status left out."""
    frames: list[wire.Frame] = []
    with ModuleHub(module="calm", inputs=["in"], outputs=["out", "status"]) as hub:

        def stop_when_handled() -> None:
            frames.extend(hub.frames())
            if any(frame[0] == wire.DONE for frame in frames):
                hub.client.request_stop()

        hub.put(wire.DELIVER, 1, head=b"in", body=pack(Message(envelope, body, "north", "s", 1, 1, 2)))
        hub.client.every(0.001, stop_when_handled)
        hub.take_report(1, 2)
        Gate(hub.client, Settings({"rules": [RATE]})).run()
    sent = [(Envelope.decode(head), bytes(data)) for kind, _, _, head, data in frames if kind == wire.SEND]
    return [(head, data) for head, data in sent if head.output == "out"]


@pytest.mark.parametrize(
    ("content_type", "encoding", "body"),
    [
        ("application/json", "utf-8", b'{ "celsius" : 2.150e1 }'),
        ("text/plain", "utf-8", "21 °C".encode()),
        ("application/cbor", "", b"\xa0"),
        ("", "", b"\x00"),
    ],
)
def test_what_passes_keeps_all_that_its_sender_said(content_type, encoding, body):
    kept = {"content_type": content_type, "ttl_s": 60, "durability": "immediate"}
    came = Envelope("readings", content_encoding=encoding, properties={"site": "roof"}, **kept)

    [(sent, data)] = sent_for(came, body)

    marks = {"source-module": "north", "source-output": "readings"}
    expected = Envelope("out", content_encoding=encoding, properties={"site": "roof", **marks}, **kept)
    assert (sent.raw, data) == (expected.raw, body)


def test_text_that_is_none_keeps_its_bytes():
    [(_, data)] = sent_for(Envelope("readings", content_type="text/csv", content_encoding="utf-8"), b"\xff,1")

    assert data == b"\xff,1"


# --- Settings ---


def test_the_manifest_lists_every_key_with_its_default():
    manifest = tomllib.loads((ROOT / "modules/filter/module.toml").read_text())
    default, given = Settings({"rules": [RATE]}), Settings({**manifest["desired"], "rules": [RATE]})

    assert {key: value for key, value in vars(given).items() if key not in ("rules", "written")} == {
        key: value for key, value in vars(default).items() if key not in ("rules", "written")
    }
    assert set(manifest["desired"]) == set(vars(default)) - {"written"}


def rule(**keys: Any) -> dict[str, Any]:
    return {"rules": [keys]}


@pytest.mark.parametrize(
    ("desired", "message"),
    [
        ({}, "rules: missing: expected a list of 1 to 64 rules, each a table"),
        ({"rules": []}, "rules = []: expected a list of 1 to 64 rules, each a table"),
        ({"rules": BAND}, "expected a list of 1 to 64 rules"),
        ({"rules": ["rate"]}, "rule 1 = 'rate': expected a table, as { kind ="),
        ({"rules": [RATE], "rule": 1}, "rule = 1: unknown key; did you mean rules?"),
        ({"rules": [RATE], "mode": "both"}, "mode = 'both': expected one of all, any"),
        ({"rules": [RATE], "missing": True}, "missing = True: expected one of pass, drop"),
        ({"rules": [RATE], "pass_first": 1}, "pass_first = 1: expected true or false"),
        ({"rules": [RATE], "heartbeat_s": -1}, "heartbeat_s = -1: expected a number from 0 to 31536000"),
        ({"rules": [RATE], "heartbeat_s": 5}, "heartbeat_s = 5: expected 0, or at least the interval_s = 10 of rule 1"),
        ({"rules": [RATE], "status_interval_s": 0}, "status_interval_s = 0: expected a number from 1 to 86400"),
        (rule(field="t"), "rule 1: kind: missing: expected one of threshold, deadband, rate, change"),
        (rule(kind="deadbnd"), "rule 1: kind = 'deadbnd': expected one of threshold, deadband, rate, change; did you"),
        (rule(kind=1), "rule 1: kind = 1: expected one of"),
        (rule(kind="deadband", absolute=1), "rule 1 (deadband): field: missing: expected the field of the JSON body"),
        (rule(kind="deadband", field="t"), "rule 1 (deadband): absolute, percent: missing: expected one of them"),
        (rule(**BAND, absolut=1), "rule 1 (deadband): absolut = 1: unknown key; did you mean absolute?"),
        (rule(**BAND, above=1), "rule 1 (deadband): above = 1: unknown key"),
        (rule(**{**BAND, "absolute": "1"}), "rule 1 (deadband): absolute = '1': expected a number from 0"),
        (rule(**{**BAND, "field": "a..b"}), "rule 1 (deadband): field = 'a..b': expected names with a dot between"),
        (rule(**{**BAND, "field": ""}), "rule 1 (deadband): field = '': expected the field"),
        (rule(kind="threshold", field="t"), "rule 1 (threshold): above, below: missing: expected one of them, or both"),
        (rule(**HOT, below=30), "rule 1 (threshold): below = 30: expected less than above = 30"),
        (rule(**HOT, below=20, hysteresis=6), "rule 1 (threshold): hysteresis = 6: expected at most 5"),
        (rule(**{**HOT, "above": float("nan")}), "rule 1 (threshold): above = nan: expected a finite number"),
        (rule(**{**HOT, "above": 10**400}), "rule 1 (threshold): above = 1000"),
        (rule(kind="rate"), "rule 1 (rate): interval_s: missing: expected a number from 0.001 to 31536000"),
        (rule(kind="rate", interval_s=1, field="t"), "rule 1 (rate): field = 't': unknown key"),
        (rule(**RATE, name="a b"), "rule 1 (rate): name = 'a b': expected the name of the rule: letters"),
        ({"rules": [{**RATE, "name": "rate-2"}, RATE]}, "rule 2: name = 'rate-2': expected a name of its own"),
        (rule(**RATE, match="north"), "rule 1 (rate): match = 'north': expected a table, as { module ="),
        (rule(**RATE, match={"modul": "n"}), "rule 1 (rate): match.modul = 'n': unknown key; did you mean module?"),
        (rule(**RATE, match={"module": "*"}), "rule 1 (rate): match.module = '*': expected the name of a module"),
        (rule(**RATE, match={"equals": "x"}), "rule 1 (rate): match.equals = 'x': expected a property beside it"),
    ],
)
def test_a_wrong_property_is_named_with_what_was_found_and_expected(desired, message):
    with pytest.raises(SettingsError, match=re.escape(message)) as caught:
        Settings(desired)

    assert len(str(caught.value)) < 400
    assert str(caught.value).isprintable()


def test_metadata_of_the_twin_is_no_unknown_key():
    assert Settings({"rules": [RATE], "$version": 7}).mode == "all"


# --- The pages ---

README = (ROOT / "modules/filter/README.md").read_text(encoding="utf-8")


def filters_in(configuration: str) -> list[dict[str, Any]]:
    """Return the desired properties of each instance of the filter, none for a block that is no configuration."""
    modules = tomllib.loads(configuration).get("modules", {}).values()
    return [module.get("desired", {}) for module in modules if module.get("image") == "filter"]


def test_the_filter_takes_the_properties_that_are_shown():
    pages = [README, *(path.read_text(encoding="utf-8") for path in (ROOT / "docs").rglob("*.md"))]
    blocks = [block for page in pages for block in re.findall(r"^```toml\n(.*?)^```", page, re.M | re.S)]
    shown = [desired for block in blocks for desired in filters_in(block)]

    assert len(shown) >= 3
    assert all(Settings(desired).rules for desired in shown)


def test_the_readme_has_a_row_for_every_key():
    keys = {*settings._KEYS, *settings._COMMON, *settings._MATCH}
    keys |= {key for kind, _ in settings._KINDS.values() for key in kind}
    rows = "\n".join(line for line in README.splitlines() if line.startswith("|"))

    assert sorted(key for key in keys if f"`{key}`" not in rows) == []

"""What conditions give: the operators, three-valued logic, null and the body, row by row as Azure IoT Edge has them.

Where ours differs on purpose, the test says so.
"""

from __future__ import annotations

import pytest
from support.conditions import message, value_of

from microedge.hub.values import NULL, Value

PROPERTIES = {"key1": "value1", "key2": "3", "key3": "VALUE3", "$sys4": "value4", "temp-5": "x"}
PROPERTIES["$body.weather.conflict"] = "100"

BODY = {
    "weather": {
        "temperature": 50,
        "freezing": -50.4,
        "precise": 50.4,
        "conflict": 50,
        "nothing": None,
        "history": [20, 30, 40],
        "is_on": True,
        "is_off": False,
        "place": {"street": "One Way", "state": "WA"},
        "months": [{"month": "Feb", "temperature": 40}, {"month": "Jan", "temperature": 30}],
    }
}
MESSAGE = message(BODY, properties=PROPERTIES)


def check(condition: str, expected: Value) -> None:
    assert value_of(condition, MESSAGE) is expected


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("3 = 3", True),
        ("3 = 4", False),
        ('"3" = "3"', True),
        ("'3' = \"3\"", True),
        ("'3' = '4'", False),
        ("true = true", True),
        ("false = true", False),
        ("key2 = '3'", True),
        ("none = '4'", None),
        ("3 != 3", False),
        ("3 <> 4", True),
        ("'3' <> '3'", False),
        ("true != false", True),
        ("none != '4'", None),
        ("null = null", True),
        ("null != null", False),
        ("null <= null", True),
        ("null < null", False),
        ("undefined = undefined", None),
        ("undefined < undefined", None),
        ("1e3 = 1000", True),
        ("0x1f = 31", True),
        ("0XFF = 255", True),
        (".5 = 0.5", True),
        ("-.5 = -0.5", True),
        ("10e1000 = 1 / 0", True),
    ],
)
def test_equality(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("4 < 7", True),
        ("7 < 7", False),
        ("7 <= 7", True),
        ("8 <= 7", False),
        ("8 > 7", True),
        ("7 > 7", False),
        ("7 >= 7", True),
        ("'a' < 'b'", True),
        ("'B' < 'a'", True),
        ("'b' >= 'a'", True),
        ("'a' < none", None),
        ("false < true", True),
        ("3 > as_number(none)", None),
        ("3 + 4 <= 7", True),
        ("key1 >= 'value1'", True),
        ("'value1' >= key1", True),
        ("key1 < key3", False),
    ],
)
def test_order_of_numbers_and_of_text_with_capitals_first(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("not true", False),
        ("NOT false", True),
        ("NOT undefined", None),
        ("not (true and false)", True),
        ("true AND true", True),
        ("true aNd not true", False),
        ("true Or false", True),
        ("false or false", False),
        ("undefined or false", None),
        ("undefined or true", True),
        ("false or undefined", None),
        ("true and undefined", None),
        ("false and undefined", False),
        ("undefined and false", False),
        ("undefined and undefined", None),
        ("true or none = 'x'", True),
        ("none = 'x' or false", None),
        ("none = 'x' and false", False),
        ("not (none = 'x')", None),
        ("undefined", None),
    ],
)
def test_logic_has_three_values(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("null", NULL),
        ("not null", True),
        ("(null and null) = null", True),
        ("(null and false) = null", True),
        ("(true and null) = null", True),
        ("null or true", True),
        ("null or false", False),
        ("(null or null) = null", True),
        ("null or none = 'x'", None),
    ],
)
def test_a_null_that_is_written_counts_as_false(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("3 + 4 = 7", True),
        ("3 - 4 = -1", True),
        ("3 * 4 = 12", True),
        ("3 / 4 = 0.75", True),
        ("4 % 3 = 1", True),
        ("-7 % 4 = -3", True),
        ("-1 < 0", True),
        ("- (3 + 4) = -7", True),
        ("-(3 + 4) = -7", True),
        ("3 - - 1 = 4", True),
        ("as_number(key2) * 3 = 9", True),
        ("is_defined(3 + as_number(none))", False),
        ("is_defined(3 % 0)", False),
        ("is_defined(0 / 0)", False),
        ("is_defined(3 / 0)", True),
        ("-3 / 0 < 0", True),
        ("3 / (-1 * 0) < 0", True),
        ("is_defined(1 / 0 - 1 / 0)", False),
        ("is_defined((1 / 0) % 2)", False),
        ("2 % (1 / 0) = 2", True),
        ("1e308 * 10 = 1 / 0", True),
    ],
)
def test_numbers_are_doubles_and_what_is_no_number_is_undefined(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("2 + 3 * 4 = 14", True),
        ("(2 + 3) * 4 = 20", True),
        ("2 * 3 % 4 = 2", True),
        ("20 / 2 * 5 = 50", True),
        ("10 - 3 - 2 = 5", True),
        ("'a' || 'b' || 'c' = 'abc'", True),
        ("1 < 2 = true", True),
        ("1 = 1 = true", True),
        ("true OR true AND false", True),
        ("(true OR true) AND false", False),
        ("NOT false = true", True),
        ("NOT true = false AND true", True),
        ("NOT is_defined(none) OR true AND false", True),
        ("undefined ?? undefined", None),
        ("(none ?? 'hello') = 'hello'", True),
        ("(key1 ?? 'hello') = 'value1'", True),
        ("(none ?? none ?? 'hello') = 'hello'", True),
        ("(as_number(key1) ?? 12.34) = 12.34", True),
        ("(3 % 0 ?? 12.34) = 12.34", True),
        ("none = 'x' ?? true", True),
        ("none = 'x' ?? false OR true", True),
        ("(none ?? none) = 'value'", None),
    ],
)
def test_operators_bind_in_their_order(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("key1 = 'value1'", True),
        ("KEY1 = 'value1'", True),
        ("{key1} = 'value1'", True),
        ("{ Key1 } = 'value1'", True),
        ("temp-5 = 'x'", True),
        ("$sys4 = 'value4'", True),
        ("$SYS4 = 'value4'", True),
        ("is_defined({$sys4})", False),
        ("$none = 'x'", None),
        ("$connectionDeviceId = 'greenhouse-7'", True),
        ("{ $connectionModuleId } = 'probe'", True),
        ("$outputName = 'readings'", True),
        ("$contentType = 'application/json'", True),
        ("$contentEncoding = 'utf-8'", True),
        ("$messageId = 'session-42'", True),
        ("$edgeMessageId = 'session-42'", True),
        ("$creationTime = '2023-11-14T22:13:20.123Z'", True),
        ("$CONTENTTYPE = 'application/json'", True),
        ("is_defined($inputName)", False),
        ("is_defined($cid)", False),
        ("is_defined($correlationId)", False),
        ("is_defined($userId)", False),
        ("is_defined($messageSchema)", False),
        ("is_defined($messageType)", False),
    ],
)
def test_properties_of_the_application_and_of_the_system(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("50 >= $body.weather.temperature", True),
        ("$BODY.weather.temperature = 40 + 10", True),
        ("$body.Weather.temperature = 50", False),
        ("$body.weather.temperature < 50", False),
        ("$body.weather.temperature = '50'", False),
        ("$body.weather.temperature <> '100'", True),
        ("$body.weather.history[0] + $body.weather.history[1] = 50", True),
        ("$body.weather.history[1] / $body.weather.history[0] = 1.5", True),
        ("$body.weather.history[1] % 7 = 2", True),
        ("- $body.weather.freezing = 50.4", True),
        ("$body.weather.months[0].temperature - 10 = $body.weather.months[1].temperature", True),
        ("$body.weather.months[0].month = 'Feb'", True),
        ("$body.weather.is_on", True),
        ("NOT $body.weather.is_off", True),
        ("$body.weather.is_off OR NOT($body.weather.is_off)", True),
        ("$body.weather.is_on = true", True),
        ("$body.weather.nothing = null", True),
        ("$body.weather.missing = null", True),
        ("$body.missing.at.all = null", True),
        ("$body.weather.history[3] = null", True),
        ("$body.weather.temperature.below = null", True),
        ("$body.weather.place[0] = null", True),
        ("$body.weather.history.first = null", True),
        ("$body.weather.temperature != null", True),
        ("NOT ($body.weather.missing != null)", True),
        ("$body.weather.missing <> '100'", True),
        ("$body.weather <> null", None),
        ("$body.weather.history = 1", None),
        ("is_defined($body.weather.place)", False),
        ("$body.weather.place.state = 'WA' AND key2 = '3'", True),
        ("concat($body.weather.place.street, ', ', $body.weather.place.state) = 'One Way, WA'", True),
        ("$body.weather.place.state || '!' = 'WA!'", True),
        ("power($body.weather.temperature, length($body.weather.place.state)) = 2500", True),
        ("$body.weather.conflict = '100'", True),
        ("{$body.weather.conflict} = 50", True),
        ("($body.weather.missing ?? 5) = null", True),
        ("(none ?? $body.weather.place.state) = 'WA'", True),
    ],
)
def test_the_body(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    "condition",
    [
        "$body.weather.missing > 3",  # in edgeHub null is more than every number: the message would match
        "$body.weather.missing < 3",
        "$body.weather.place.state > 3",
        "$body.weather.is_on >= 0",
        "3 < $body.weather.missing",
        "$body.weather.history[0] < $body.weather.place.state",
    ],
)
def test_of_two_kinds_of_values_neither_is_more_than_the_other(condition: str):
    check(condition, None)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("$body.weather.history[0] <= $body.weather.temperature", True),
        ("$body.weather.missing = $body.weather.nothing", True),
        ("$body.weather.missing < $body.weather.nothing", False),
        ("$body.weather.missing <= $body.weather.nothing", True),
        ("$body.weather.missing != $body.weather.temperature", True),
        ("$body.weather.place = $body.weather.place", None),
        ("$body.weather.nothing >= null", True),
        ("null < $body.weather.nothing", False),
        ("null != $body.weather.temperature", True),
    ],
)
def test_values_of_the_body_are_compared_with_each_other_and_with_null(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        ("NOT $body.weather.missing", None),
        ("$body.weather.missing OR true", True),
        ("$body.weather.temperature AND false", False),
        ("$body.weather.place.state OR false", None),
        ("$body.weather.missing", NULL),
    ],
)
def test_what_is_neither_true_nor_false_in_a_body_is_undefined_in_logic(condition: str, expected: Value):
    check(condition, expected)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("properties.reported.pump", True),
        ("Properties.Reported.pump.state", True),
        ("properties.reported.nothing", False),
        ("properties.reported.missing", False),
        ("properties.desired.pump", False),
        ("tags.site", True),
    ],
)
def test_twin_change_includes_what_is_there_and_not_null(path: str, expected: bool):
    change = message({"properties": {"reported": {"pump": {"state": "on"}, "nothing": None}}, "tags": {"site": "x"}})

    condition = f"Twin_Change_Includes( {path} )"
    assert value_of(condition, change, source="/twinChangeNotifications") is expected
    assert value_of(f"{condition} AND true", change, source="/twinChangeNotifications") is expected


def test_twin_change_includes_is_undefined_without_a_body():
    condition = "twin_change_includes(tags.site)"

    assert value_of(condition, message(b"random"), source="/twinChangeNotifications") is None


def test_a_condition_that_is_decided_does_not_ask_for_the_body():
    from microedge.hub.facts import Facts
    from microedge.hub.parser import parse

    condition = parse("r", "FROM /* WHERE key1 = 'x' AND $body.a = 1 INTO $upstream").condition
    assert condition is not None
    facts = Facts(message(b"no JSON", properties=PROPERTIES), "d")

    assert condition.evaluate(facts) is False
    assert facts.problem is None


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("properties.reported.pump.state", True),
        ("properties.reported.nothing", False),
        ("properties.desired.pump", False),
        ("tags.pump", False),
    ],
)
def test_twin_change_includes_reads_a_patch_of_reported_properties_as_edgehub_sends_it(path: str, expected: bool):
    change = message({"pump": {"state": "on"}, "nothing": None})

    assert value_of(f"twin_change_includes({path})", change, source="/twinChangeNotifications") is expected

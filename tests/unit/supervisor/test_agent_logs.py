"""GetModuleLogs: what is chosen, how it is written, and that nobody can stop microedge with it."""

from __future__ import annotations

import base64
import gzip
import json
import signal
from typing import Any

import pytest

from microedge.supervisor.agent_logs import MAX_ANSWER_BYTES, Filter, LogRequest, answer_of
from microedge.supervisor.logs import Line

NOW_MS = 1_700_000_000_250  # 2023-11-14 22:13:20.250 UTC
LINES = [Line(NOW_MS - age_s * 1_000, level, text) for age_s, level, text in (
    (7_200, 6, "started"), (3_600, 3, "probe lost"), (60, 6, "probe back"), (0, 6, "größer"),
)]  # fmt: skip


def texts(**members: Any) -> list[str]:
    return [line.text for line in Filter.parse(members, NOW_MS).choose(LINES)]


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ({}, ["started", "probe lost", "probe back", "größer"]),
        ({"tail": 2}, ["probe back", "größer"]),
        ({"tail": "1"}, ["größer"]),
        ({"tail": 0}, []),
        ({"tail": 99}, ["started", "probe lost", "probe back", "größer"]),
        ({"since": "90m"}, ["probe lost", "probe back", "größer"]),
        ({"since": "1 hour"}, ["probe lost", "probe back", "größer"]),
        ({"since": 1_699_999_000}, ["probe back", "größer"]),
        ({"since": "2023-11-14T22:13:00Z"}, ["größer"]),
        ({"since": "2023-11-14T23:13:00.5+01:00"}, ["größer"]),
        ({"until": "1d"}, []),
        ({"until": "2023-11-14T21:13:20.249Z"}, ["started"]),
        ({"loglevel": 3}, ["probe lost"]),
        ({"regex": "^probe"}, ["probe lost", "probe back"]),
        ({"regex": "probe", "tail": 1, "loglevel": 6, "since": "2h", "until": None}, ["probe back"]),
    ],
)
def test_a_filter_chooses(members: dict[str, Any], expected: list[str]):
    assert texts(**members) == expected


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"tail": -1}, "tail = -1: expected a whole number from 0"),
        ({"tail": True}, "tail"),
        ({"loglevel": 8}, "loglevel = 8: expected a whole number from 0 to 7"),
        ({"since": "yesterday"}, "since = 'yesterday': expected RFC 3339"),
        ({"since": "2023-13-01T00:00:00Z"}, "2023-13-01"),
        ({"until": ["x"]}, "until"),
        ({"regex": "("}, "pattern '\\('"),
        ({"regex": 7}, "pattern"),
        ({"regex": "x" * 501}, "at most 500"),
        ({"level": 3}, "filter"),
    ],
)
def test_a_wrong_filter_is_refused_with_what_was_expected(members: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        texts(**members)


def answer(logs: dict[str, list[Line]] | None = None, **arguments: Any) -> list[dict[str, str]]:
    arguments = {"items": [{"id": ".*"}], **arguments}
    return answer_of(LogRequest.parse(arguments, NOW_MS), logs or {"pump": LINES}, "greenhouse-7")


def test_text_is_written_as_iot_edge_writes_it():
    ((log),) = answer(items=[{"id": "pump", "filter": {"tail": 2}}])

    first, second = (
        "<6> 2023-11-14 22:12:20.250 +00:00 [INF] probe back",
        "<6> 2023-11-14 22:13:20.250 +00:00 [INF] größer",
    )
    assert log == {"id": "pump", "payload": f"{first}\n{second}\n"}


def test_json_is_a_list_of_objects():
    ((log),) = answer(contentType="JSON", items=[{"id": "pump", "filter": {"tail": 1}}])

    assert json.loads(log["payload"]) == [
        {
            "device": "greenhouse-7",
            "id": "pump",
            "stream": "stdout",
            "timestamp": "2023-11-14 22:13:20.250 +00:00",
            "loglevel": 6,
            "text": "größer",
        }
    ]


def test_gzip_holds_the_same():
    ((plain),) = answer()
    ((packed),) = answer(encoding="gzip")

    assert gzip.decompress(base64.b64decode(packed["payloadBytes"])).decode() == plain["payload"]


def test_each_log_comes_once_by_the_first_item_that_names_it():
    logs = {"edgeAgent": LINES, "pump": LINES, "valve": LINES}
    items = [{"id": "pump", "filter": {"tail": 1}}, {"id": "p|v", "filter": {"tail": 2}}]

    assert [(log["id"], log["payload"].count("\n")) for log in answer(logs, items=items)] == [("pump", 1), ("valve", 2)]


@pytest.mark.parametrize("form", [{}, {"contentType": "json"}, {"encoding": "gzip"}])
def test_an_answer_stays_below_its_limit_and_keeps_the_newest(form: dict[str, str]):
    noise = [Line(NOW_MS, 6, f"{number} " + '"\\' * 100) for number in range(400)]
    logs = {f"m{number}": noise for number in range(5)}

    found = answer(logs, **form)

    assert len(json.dumps(found, ensure_ascii=False).encode()) <= MAX_ANSWER_BYTES
    assert [log["id"] for log in found] == list(logs)
    if not form:
        assert all("399 " in log["payload"] and "[INF] 0 " not in log["payload"] for log in found)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"items": []}, "items: expected a list of 1 to 32"),
        ({"items": None}, "items"),
        ({"items": [{}]}, "expected an object with id and filter"),
        ({"items": ["pump"]}, "expected an object with id and filter"),
        ({"items": [{"id": ".*", "filter": []}]}, "filter"),
        ({"encoding": "zip"}, "encoding = 'zip': expected none or gzip"),
        ({"contentType": 7}, "contentType = 7: expected text or json"),
    ],
)
def test_wrong_arguments_are_refused(arguments: dict[str, Any], words: str):
    with pytest.raises(ValueError, match=words):
        answer(**arguments)


def test_a_pattern_that_never_ends_is_ended():
    before = signal.getsignal(signal.SIGVTALRM)
    endless = [{"id": ".*", "filter": {"regex": "^(a|a)*$"}}]

    with pytest.raises(ValueError, match="take longer than"):
        answer({"pump": [Line(NOW_MS, 6, "a" * 60 + "!")]}, items=endless)

    assert signal.getsignal(signal.SIGVTALRM) is before
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)

"""The text of a twin's file."""

from __future__ import annotations

import json

import pytest

from microedge.errors import TwinError
from microedge.twin.stored import _checksum, etag, parse
from microedge.twin.twin import Twin

T0 = 1_700_000_000_000


def text_of(twin: Twin) -> str:
    return twin.snapshot().render().decode()


def twin_with_everything() -> Twin:
    twin = Twin("greenhouse-7", "north")
    twin.reconcile({"a": 1}, {"b": 2}, T0)
    twin.patch_tags({"site": "é"}, "cli", T0)
    twin.patch_reported({"r": 1.5}, T0)
    return twin


@pytest.mark.parametrize(
    ("revision", "text"), [(0, "AAAAAAAAAAA="), (1, "AAAAAAAAAAE="), (7, "AAAAAAAAAAc="), (1 << 40, "AAABAAAAAAA=")]
)
def test_an_etag_is_eight_bytes_in_base64(revision, text):
    assert etag(revision) == text


def test_a_person_reads_the_twin_first_and_finds_what_may_be_edited():
    text = text_of(twin_with_everything())

    assert text.startswith('{\n  "deviceId": "greenhouse-7",\n  "moduleId": "north",\n')
    assert text.endswith("}\n")
    assert list(json.loads(text)) == [
        "deviceId",
        "moduleId",
        "etag",
        "version",
        "status",
        "connectionState",
        "lastActivityTime",
        "tags",
        "properties",
        "microedge",
    ]
    assert "é" in text
    assert "may be edited" in json.loads(text)["microedge"]["note"]


@pytest.mark.parametrize(
    "rewritten",
    [
        json.dumps,
        lambda document: json.dumps(document, sort_keys=True, indent="\t", ensure_ascii=False).replace("\n", "\r\n"),
        lambda document: "\ufeff" + json.dumps(document),
    ],
)
def test_how_it_is_written_does_not_matter(rewritten):
    twin = twin_with_everything()
    document = json.loads(text_of(twin))

    assert parse(rewritten(document).encode()).state == twin.state


@pytest.mark.parametrize("key", ["deviceId", "version", "properties", "tags", "microedge", "etag", "lastActivityTime"])
def test_a_file_without_one_of_its_parts_is_refused(key):
    document = json.loads(text_of(twin_with_everything()))
    del document[key]

    with pytest.raises(TwinError):
        parse(json.dumps(document).encode())


@pytest.mark.parametrize("value", [None, True, 5, 1.5, "x", [], ["x"], [["a", 1]], {}])
@pytest.mark.parametrize(
    "path", ["deviceId", "properties", "properties.desired", "properties.reported", "microedge", "microedge.layers"]
)
def test_a_file_with_a_part_of_another_kind_is_refused(path, value):
    document = json.loads(text_of(twin_with_everything()))
    *above, key = path.split(".")
    holder = document[above[0]] if above else document
    holder[key] = value

    with pytest.raises(TwinError):
        parse(json.dumps(document).encode())


@pytest.mark.parametrize("value", [None, True, 1.5, [1]])
@pytest.mark.parametrize(
    "path",
    [
        "version",
        "lastActivityTime",
        "properties.desired.$version",
        "properties.reported.$metadata",
        "microedge.revision",
        "microedge.reportedCeiling",
        "microedge.blame",
        "microedge.history",
        "microedge.refusals",
    ],
)
def test_a_file_of_another_program_with_a_right_checksum_is_looked_at_too(path, value):
    document = json.loads(text_of(twin_with_everything()))
    *above, key = path.split(".")
    holder = document
    for name in above:
        holder = holder[name]
    holder[key] = value
    document["microedge"]["checksum"] = _checksum(document)

    with pytest.raises(TwinError):
        parse(json.dumps(document).encode())


@pytest.mark.parametrize("key", ["checksum", "layers", "tags", "history", "revision", "blame", "format"])
def test_bookkeeping_without_one_of_its_parts_is_refused(key):
    document = json.loads(text_of(twin_with_everything()))
    del document["microedge"][key]

    with pytest.raises(TwinError):
        parse(json.dumps(document).encode())


def test_what_was_edited_stands_beside_what_was_written():
    document = json.loads(text_of(twin_with_everything()))
    document["tags"] = {"site": "south"}
    document["properties"]["desired"]["a"] = 5

    stored = parse(json.dumps(document).encode())

    assert (stored.tags, stored.desired) == ({"site": "south"}, {"a": 5, "b": 2})
    assert (stored.state.tags, stored.state.desired.properties) == ({"site": "é"}, {"a": 1, "b": 2})

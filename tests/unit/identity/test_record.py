"""One identity as a value and as a file's bytes."""

from __future__ import annotations

import base64
import json

import pytest

from microedge.identity.record import MAX_FILE_BYTES, Identity, decode, encode

KEYS = [base64.b64encode(bytes([number]) * 32).decode() for number in range(4)]
NORTH = Identity("greenhouse-7", "north", "5b1c", KEYS[0], KEYS[1], "2026-11-23T16:18:52Z")
NOW = "2026-11-24T00:00:00Z"


def changed(**changes: object) -> bytes:
    """Return a file whose checksum is right and whose content is not."""
    from microedge.identity.record import _checksum

    document = {**json.loads(encode(NORTH)), **changes}
    document = {name: value for name, value in document.items() if value is not None and name != "crc32"}
    return json.dumps({**document, "crc32": _checksum(document)}).encode()


def test_a_path_names_the_device_and_the_module():
    assert NORTH.path == "/devices/greenhouse-7/modules/north"
    assert Identity("greenhouse-7", "", "1", *KEYS[:2], "").path == "/devices/greenhouse-7"


def test_what_is_written_is_what_is_read():
    assert decode(encode(NORTH)) == NORTH


def test_a_file_can_be_read_by_a_person():
    document = json.loads(encode(NORTH))

    assert list(document) == [
        *("device", "module", "generation", "primary", "secondary", "created", "rotated", "removed", "crc32")
    ]
    assert encode(NORTH).count(b"\n") == len(document) + 2


def test_a_file_cut_short_at_any_byte_is_damaged():
    whole = encode(NORTH)

    for length in range(len(whole) - 1):  # without the last byte, a line end, all of it is there
        with pytest.raises(ValueError, match="cut short or damaged"):
            decode(whole[:length])


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "0 bytes that are not JSON"),
        (b"\0" * 600, "600 bytes that are not JSON"),
        (b"\xff\xfe", "2 bytes that are not JSON"),
        (b"[" * MAX_FILE_BYTES, "that are not JSON"),
        (b" " * (MAX_FILE_BYTES + 1), "expected at most 4096"),
        (b"[]", "JSON that is no object"),
        (b"{}", "its checksum does not match"),
        (encode(NORTH).replace(b"north", b"south"), "its checksum does not match"),
        (changed(generation=""), "no generation id"),
        (changed(generation=7), "no text under generation"),
        (changed(removed=None), "no text under removed"),
        (changed(primary="AAAA"), "a primary key of 3 bytes: expected 32"),
        (changed(secondary="no base64"), "a secondary key that is not base64"),
        (changed(secondary="ü"), "a secondary key that is not base64"),
    ],
)
def test_a_damaged_file_says_what_was_found(data, reason):
    with pytest.raises(ValueError, match=reason):
        decode(data)


def test_what_a_later_version_added_does_no_harm():
    assert decode(changed(certificate="of a later version")) == NORTH


@pytest.mark.parametrize(("which", "keys"), [("primary", (KEYS[2], KEYS[1])), ("secondary", (KEYS[0], KEYS[2]))])
def test_a_rotation_replaces_one_key_and_nothing_else(which, keys):
    after = NORTH.with_key(which, KEYS[2], NOW)

    assert (after.primary, after.secondary, after.rotated) == (*keys, NOW)
    assert after.key(which) == KEYS[2]
    assert (after.generation, after.created, after.path) == (NORTH.generation, NORTH.created, NORTH.path)


def test_there_is_no_third_key():
    with pytest.raises(ValueError, match="'tertiary': expected primary or secondary"):
        NORTH.with_key("tertiary", KEYS[2], NOW)


def test_a_key_is_not_shown_with_its_identity():
    assert KEYS[0] not in repr(NORTH)
    assert KEYS[1] not in repr(NORTH)

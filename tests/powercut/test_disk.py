"""The disk that loses its power: what each fault model may leave, and that every state is possible."""

from __future__ import annotations

import random

import pytest

from powercut.disk import BLOCK_BYTES, MODELS, Disk, Image, Op

A, B, C = (letter * BLOCK_BYTES for letter in (b"a", b"b", b"c"))


def disk(*ops: Op, image: Image | None = None) -> Disk:
    made = Disk(image or {})
    for op in ops:
        made.apply(op)
    return made


def write(data: bytes, offset: int = 0, name: str = "file") -> Op:
    return Op("write", name, offset=offset, data=data)


def cuts(made: Disk, model: str, throws: int = 300) -> set[bytes | None]:
    """Return every content of the file that cuts leave; None where it has no name."""
    return {made.cut(model, random.Random(seed)).get("file") for seed in range(throws)}


def test_without_a_cut_everything_is_seen():
    made = disk(Op("create", "x"), write(A, name="x"), write(b"!", 5, "x"), Op("rename", "x", to="file"))

    assert made.seen() == {"file": A[:5] + b"!" + A[6:]}


@pytest.mark.parametrize(
    ("model", "expected"),
    [("drop", {A}), ("keep", {C}), ("blocks", {A, B, C})],
)
def test_what_was_not_synced_is_old_or_new_or_anything_between(model, expected):
    made = disk(write(B), write(C), image={"file": A})

    assert cuts(made, model) == expected


def test_sectors_of_one_block_go_their_own_ways():
    left = cuts(disk(write(B), image={"file": A}), "sectors")

    assert len(left) > 100
    assert {content[at : at + 512] for content in left for at in range(0, BLOCK_BYTES, 512)} == {A[:512], B[:512]}


def test_a_torn_block_is_garbage_from_end_to_end_where_it_had_been_synced_too():
    left = cuts(disk(write(b"!"), image={"file": A + C}), "torn")

    assert {A + C, b"!" + A[1:] + C} < left
    garbage = left - {A + C, b"!" + A[1:] + C}
    assert all(len(each) == 2 * BLOCK_BYTES and each[BLOCK_BYTES:] == C for each in garbage)
    assert all(
        each[: BLOCK_BYTES // 2].count(b"a") < 100 > each[BLOCK_BYTES // 2 : BLOCK_BYTES].count(b"a")
        for each in garbage
    )


@pytest.mark.parametrize("model", MODELS)
def test_what_was_synced_stays(model):
    made = disk(write(B), Op("sync", "file"), image={"file": A})

    assert cuts(made, model) == {B}


def test_a_sync_that_failed_makes_nothing_durable_and_neither_does_the_next_one():
    made = disk(write(B), Op("fail_sync", "file"), Op("sync", "file"), image={"file": A})

    assert made.seen() == {"file": B}
    assert cuts(made, "keep") == {A}


def test_the_rest_of_a_block_whose_sync_failed_becomes_durable_with_a_later_write_to_it():
    made = disk(write(B), Op("fail_sync", "file"), write(b"!"), Op("sync", "file"), image={"file": A})

    assert cuts(made, "drop") == {b"!" + B[1:]}


def test_a_hole_before_what_was_kept_reads_as_zeros():
    left = cuts(disk(write(A), write(B, BLOCK_BYTES), image={"file": b""}), "blocks")

    assert left == {b"", A, A + B, bytes(BLOCK_BYTES) + B}


def test_a_truncation_is_undone_with_everything_that_came_after_it():
    made = disk(Op("truncate", "file"), write(B), image={"file": A})

    assert cuts(made, "drop") == {A}
    assert cuts(made, "blocks") == {A, b"", B}
    made.apply(Op("sync", "file"))
    assert cuts(made, "blocks") == {B}


def test_names_are_there_in_the_order_in_which_they_changed():
    made = disk(Op("create", "a"), Op("create", "b"), Op("rename", "a", to="c"), Op("unlink", "b"))
    left = {tuple(made.cut("blocks", random.Random(seed))) for seed in range(100)}

    assert left == {(), ("a",), ("a", "b"), ("b", "c"), ("c",)}


def test_a_name_is_durable_only_with_its_directory():
    made = disk(Op("create", "file"), write(A), Op("sync", "file"))
    assert cuts(made, "drop") == {None}

    made.apply(Op("sync_names", ""))
    assert cuts(made, "drop") == {A}


def test_a_linked_file_keeps_both_names():
    made = disk(Op("link", "file", to="other"), Op("unlink", "file"), Op("sync_names", ""), image={"file": A})

    assert made.cut("drop", random.Random(0)) == {"other": A}

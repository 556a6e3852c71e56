"""Whatever a twin may hold can be written as words of `microedge twin set`, and shown."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st
from support import twins

from microedge.cli.terminal import Look
from microedge.cli.twin_patch import patch_of, value_of
from microedge.cli.twin_view import render_twin
from microedge.errors import TwinError
from microedge.patch import same
from microedge.twin.document import leaves

KEYS = st.text(st.characters(exclude_categories=("Cs",), exclude_characters=".="), min_size=1, max_size=6).filter(
    lambda key: key[0] not in "{$" and key.strip() == key
)
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",)))
)
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner, max_size=3), max_leaves=5)
DOCUMENTS = st.recursive(
    st.dictionaries(KEYS, VALUES, max_size=4),
    lambda inner: st.dictionaries(KEYS, VALUES | inner, max_size=4),
    max_leaves=8,
)


@given(DOCUMENTS)
def test_a_patch_comes_back_from_its_words(patch):
    words = [f"{'.'.join(path)}={json.dumps(value)}" for path, value in leaves(patch)]

    assert not words or same(patch_of(words), patch)


@given(DOCUMENTS)
def test_a_patch_comes_back_from_its_json(patch):
    assert same(patch_of([json.dumps(patch)]), patch)


@given(st.text(st.characters(exclude_categories=("Cs",))))
def test_a_text_behind_a_key_is_json_or_that_text(text):
    value = value_of(text)

    assert value == text or value is None or same(value, json.loads(text))


@given(DOCUMENTS, st.booleans(), st.integers(60, 120))
def test_whatever_a_twin_holds_fits_the_terminal_and_cannot_move_the_cursor(document, with_blame, width):
    twin = twins.Twin("greenhouse-7", "north")
    for take in (
        lambda: twin.patch_desired(document, "upstream", twins.START_MS),
        lambda: twin.patch_reported(document, twins.START_MS),
    ):
        try:
            take()
        except TwinError:
            continue
    text = render_twin(twins.answer(twin), Look(width), twins.START_S, with_blame=with_blame)

    assert text.replace("\n", "").isprintable()
    assert max(map(len, text.splitlines())) <= max(width, 74)

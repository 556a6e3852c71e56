"""Whatever is changed, by whomever, in whatever order: the laws of patches, versions, limits and layers hold."""

from __future__ import annotations

import copy
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from microedge.errors import TwinError
from microedge.patch import diff, merge_patch, same
from microedge.twin.document import copied, leaves, value_at
from microedge.twin.layers import DEFAULT, LOCAL, NAMES, UPSTREAM, Layers
from microedge.twin.limits import DESIRED, REPORTED, TAGS, check_document
from microedge.twin.saving import Urgency
from microedge.twin.stored import parse
from microedge.twin.twin import Twin

T0 = 1_700_000_000_000

KEYS = st.sampled_from("abcd")  # few, so that changes meet
SCALARS = st.one_of(st.booleans(), st.integers(-3, 3), st.sampled_from([0.0, 1.0, -0.5]), st.text(max_size=3))
LEAVES = SCALARS | st.lists(SCALARS, max_size=2)


def objects(leaf: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Three levels, by hand: st.recursive takes four times as long to draw."""
    inner = st.dictionaries(KEYS, leaf, max_size=3)
    values = leaf | inner | st.dictionaries(KEYS, leaf | inner, max_size=2)
    return st.dictionaries(KEYS, values, max_size=3)


DOCUMENTS = objects(LEAVES)
PATCHES = objects(LEAVES | st.none())

# What no twin may hold, among what it may: at the limits and beyond them.
WILD_VALUES = st.recursive(
    st.one_of(
        LEAVES,
        st.none(),
        st.integers(),
        st.floats(),
        st.sampled_from(["x" * 4096, "x" * 4097, 1 << 52, (1 << 52) - 1, "\ud800"]),
        st.lists(st.none(), max_size=1),
    ),
    lambda inner: st.dictionaries(KEYS | st.sampled_from(["", "a.b", "$x", "k" * 1025, "x y"]), inner, max_size=3),
    max_leaves=8,
)
WILD_PATCHES = st.dictionaries(KEYS | st.integers(0, 20).map("k{}".format), WILD_VALUES, max_size=12)


# --- merge patch and diff -----------------------------------------------------------------------------------------


@given(DOCUMENTS, DOCUMENTS)
def test_a_difference_applied_to_the_old_gives_the_new(old, new):
    assert same(merge_patch(old, diff(old, new)), new)


@given(DOCUMENTS, DOCUMENTS)
def test_a_difference_names_nothing_that_is_the_same(old, new):
    for path, value in leaves(diff(old, new)):
        assert not same(value_at(old, path, "absent"), "absent" if value is None else value)


@given(DOCUMENTS, PATCHES)
def test_a_patch_applied_twice_is_a_patch_applied_once(document, patch):
    once = merge_patch(document, patch)

    assert same(merge_patch(once, patch), once)


@given(DOCUMENTS, PATCHES)
def test_a_patch_decides_all_that_it_names_and_nothing_else(document, patch):
    merged = merge_patch(document, patch)

    for path, value in leaves(patch):
        if not isinstance(value, dict):  # an empty object only makes sure that there is one
            assert same(value_at(merged, path), value)
    for key in document.keys() - patch.keys():
        assert same(merged[key], document[key])


@given(DOCUMENTS, PATCHES)
def test_a_patch_changes_neither_argument_and_leaves_no_null(document, patch):
    before = copy.deepcopy((document, patch))

    merged = merge_patch(document, patch)

    assert same(list(before), [document, patch])
    assert all(value is not None for _, value in leaves(merged))


# --- layers -------------------------------------------------------------------------------------------------------

LAYERS = st.fixed_dictionaries({name: DOCUMENTS if name == DEFAULT else PATCHES for name in NAMES}).map(Layers)


@given(LAYERS, PATCHES, st.sampled_from([LOCAL, UPSTREAM]))
def test_a_patch_that_is_free_has_the_effect_that_it_says(layers, patch, layer):
    if layers.holder(layer, patch) is None:
        assert same(layers.amended(layer, patch).merged(), merge_patch(layers.merged(), patch))


@given(LAYERS, PATCHES)
def test_a_patch_that_is_refused_would_not_have_had_its_effect_for_good(layers, patch):
    held = layers.holder(LOCAL, patch)
    if held is not None:
        path, holder = held
        assert holder == UPSTREAM
        assert not same(value_at(patch, path), value_at(layers[UPSTREAM], path))


@given(st.dictionaries(st.sampled_from(NAMES), DOCUMENTS), st.data())
def test_what_wins_does_not_depend_on_who_came_first(documents, data):
    one, other = Layers(), Layers()

    for name in data.draw(st.permutations(list(documents))):
        one = one.replaced({name: documents[name]})
    for name in data.draw(st.permutations(list(documents))):
        other = other.replaced({name: documents[name]})

    assert same(one.merged(), other.merged())


@given(LAYERS)
def test_every_value_has_somebody_who_says_it(layers):
    for path, value in leaves(layers.merged()):
        said = value_at(layers[layers.speaker(path)], path, "nobody")
        assert same(said, value) or (value == {} and isinstance(said, dict))


# --- limits -------------------------------------------------------------------------------------------------------


@given(st.lists(WILD_PATCHES, max_size=6))
def test_what_is_accepted_is_within_the_limits_and_what_is_refused_changes_nothing(patches):
    twin = Twin("greenhouse-7", "north")

    for patch in patches:
        for change, part in (
            (lambda patch: twin.patch_reported(patch, T0), REPORTED),
            (lambda patch: twin.patch_desired(patch, "cli", T0), DESIRED),
            (lambda patch: twin.replace_desired(patch, "upstream", T0), DESIRED),
            (lambda patch: twin.patch_tags(patch, "cli", T0), TAGS),
        ):
            before = twin.state
            try:
                effect = change(copied(patch))
            except TwinError:
                assert twin.state is before
            else:
                assert effect.part == part.name
    check_document(dict(twin.desired), DESIRED)
    check_document(dict(twin.reported), REPORTED)
    check_document(dict(twin.tags), TAGS)
    assert parse(twin.snapshot().render()).state == twin.state


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_garbage_is_refused_as_an_edit(data):
    twin = Twin("greenhouse-7", "north")

    try:
        twin.apply_edit(data, T0)
    except TwinError:
        return
    raise AssertionError("garbage was taken for a twin")


@given(st.data())
@settings(max_examples=200)
def test_any_damage_of_the_text_is_refused_or_an_edit_of_tags_and_desired(data):
    twin = Twin("greenhouse-7", "north")
    twin.reconcile({"a": 1, "b": "text"}, {}, T0)
    twin.patch_tags({"t": [1, 2]}, "cli", T0)
    twin.patch_reported({"r": {"s": 1}}, T0)
    text = bytearray(twin.snapshot().render())
    for _ in range(data.draw(st.integers(1, 3))):
        text[data.draw(st.integers(0, len(text) - 1))] = data.draw(st.integers(0, 255))
    before = twin.state

    try:
        twin.apply_edit(bytes(text), T0)
    except TwinError:
        assert twin.state is before
    assert (twin.state.reported, twin.state.layers[DEFAULT]) == (before.reported, before.layers[DEFAULT])


# --- a twin's life ------------------------------------------------------------------------------------------------


class TwinLife(RuleBasedStateMachine):
    """One module, one person, one upstream; stops, crashes and a line that is often down."""

    def __init__(self) -> None:
        super().__init__()
        self.defaults: dict[str, Any] = {}
        self.twin = Twin("greenhouse-7", "north")
        self.disk = self.twin.snapshot().render()
        self.module: dict[str, Any] = {}  # what the module believes its desired properties are
        self.operator: dict[str, Any] = {}  # the retained document at the broker
        self.versions = (0, 0, 0)

    def tell(self, effect: Any) -> None:
        if effect.notification is not None:
            patch = {key: value for key, value in effect.notification.items() if key != "$version"}
            self.module = merge_patch(self.module, patch)

    def save(self, is_last: bool = False) -> None:
        snapshot = self.twin.snapshot(is_last=is_last)
        self.disk = snapshot.render()
        self.twin.saved(snapshot)

    @rule(patch=PATCHES)
    def a_person_changes_desired(self, patch: dict[str, Any]) -> None:
        try:
            self.tell(self.twin.patch_desired(patch, "cli", T0))
        except TwinError:
            return
        self.save()

    @rule(document=DOCUMENTS)
    def a_person_edits_the_file(self, document: dict[str, Any]) -> None:
        stored = parse(self.disk, None)
        text = self.disk.decode()
        edited = type(stored)(**{**vars(stored), "desired": document, "text": text})
        try:
            desired, _ = self.twin.apply_stored_edit(edited, T0)
        except TwinError:
            return
        self.tell(desired)
        self.save()

    @rule(document=PATCHES)
    def the_operator_publishes(self, document: dict[str, Any]) -> None:
        self.operator = document

    @rule()
    def the_line_comes_back(self) -> None:
        self.tell(self.twin.replace_desired(self.operator, "upstream", T0))
        assert same(dict(self.twin.state.layers[UPSTREAM]), self.operator)
        for path, value in leaves(self.operator):
            if not isinstance(value, dict):
                assert same(value_at(self.twin.desired, path), value)
        self.save()

    @rule(patch=PATCHES)
    def the_module_reports(self, patch: dict[str, Any]) -> None:
        self.twin.patch_reported(patch, T0)
        if self.twin.dirty in (Urgency.NOW, Urgency.SOON):
            self.save()

    @rule(defaults=DOCUMENTS)
    def the_image_is_updated(self, defaults: dict[str, Any]) -> None:
        self.defaults = defaults
        self.tell(self.twin.reconcile(defaults, {}, T0))
        self.save()

    @rule(is_crash=st.booleans())
    def the_device_restarts(self, is_crash: bool) -> None:
        if not is_crash:
            self.save(is_last=True)
        kept = self.twin.desired_document()
        self.twin = Twin.restored("greenhouse-7", "north", parse(self.disk))
        self.twin.reconcile(self.defaults, {}, T0)
        assert same(self.twin.desired_document(), kept)
        self.module = dict(self.twin.desired)

    @invariant()
    def the_module_knows_what_is_desired(self) -> None:
        assert same(self.module, dict(self.twin.desired))

    @invariant()
    def versions_never_go_back(self) -> None:
        state = self.twin.state
        versions = (state.version, state.desired.version, state.reported.version)
        assert all(new >= old for new, old in zip(versions, self.versions))
        self.versions = versions

    @invariant()
    def the_parts_agree(self) -> None:
        state = self.twin.state
        assert same(state.layers.merged(), dict(state.desired.properties))
        assert state.blame.keys() == {".".join(path) for path, _ in leaves(state.desired.properties)}
        for bag in (state.desired, state.reported):
            assert_parallel(bag.metadata, bag.properties)


def assert_parallel(metadata: Any, properties: Any) -> None:
    """Every object and every value has its time, and nothing else has."""
    below = properties if isinstance(properties, dict) else {}
    assert metadata.keys() == below.keys() | {"$lastUpdated"}
    for key, value in below.items():
        assert_parallel(metadata[key], value)


TwinLife.TestCase.settings = settings(max_examples=50, stateful_step_count=25, deadline=None)
test_a_twin_lives_through_anything = TwinLife.TestCase

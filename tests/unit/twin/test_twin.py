"""The twin against the rules and limits of Azure IoT Edge, and against the layering rule."""

from __future__ import annotations

import json

import pytest

from microedge.errors import TwinError
from microedge.twin.saving import Urgency
from microedge.twin.stored import parse
from microedge.twin.twin import Effect, Twin

T0 = 1_700_000_000_000
DESIRED, REPORTED, TAGS = "properties.desired", "properties.reported", "tags"


def new_twin(defaults=None, configured=None) -> Twin:
    twin = Twin("greenhouse-7", "north")
    twin.reconcile(defaults or {}, configured or {}, T0)
    return twin


def saved(twin: Twin, *, is_last: bool = False) -> bytes:
    snapshot = twin.snapshot(is_last=is_last)
    twin.saved(snapshot)
    return snapshot.render()


def reopened(data: bytes) -> Twin:
    return Twin.restored("greenhouse-7", "north", parse(data))


# --- the rules of a change ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patch", "desired"),
    [
        ({"b": 2}, {"a": {"x": 1, "y": 2}, "l": [1, 2], "b": 2}),  # absent: untouched
        ({"a": None}, {"l": [1, 2]}),  # null: deleted
        ({"a": {"y": None, "z": 3}}, {"a": {"x": 1, "z": 3}, "l": [1, 2]}),  # object: merged
        ({"a": 5}, {"a": 5, "l": [1, 2]}),  # scalar: replaced
        ({"l": [3]}, {"a": {"x": 1, "y": 2}, "l": [3]}),  # array: replaced whole
    ],
)
@pytest.mark.parametrize("origin", ["cli", "upstream", "file"])
def test_a_patch_of_desired_is_a_merge_patch_and_is_passed_on_as_it_was_sent(patch, desired, origin):
    twin = new_twin({"a": {"x": 1, "y": 2}, "l": [1, 2]})

    effect = twin.patch_desired(patch, origin, T0)

    assert twin.desired == desired
    assert effect == Effect(DESIRED, 3, True, {**patch, "$version": 3})
    assert twin.desired_document() == {**desired, "$version": 3}


def test_several_reports_in_one_patch_are_taken_or_refused_together():
    twin = new_twin()
    twin.patch_reported({"a": 1}, T0)

    with pytest.raises(TwinError, match=r"properties\.reported\.c"):
        twin.patch_reported({"a": 2, "b": 3, "c": "x" * 5000}, T0)

    assert twin.reported_document() == {"a": 1, "$version": 2}


def test_the_version_goes_up_by_one_for_each_accepted_change_of_its_bag_and_for_no_other():
    twin = new_twin({"a": 1})
    versions = []

    for change in (
        lambda: twin.patch_reported({"r": 1}, T0),
        lambda: twin.patch_desired({"a": 2}, "cli", T0),
        lambda: twin.patch_desired({"a": 2}, "cli", T0),  # the same again is accepted as well
        lambda: twin.patch_tags({"t": 1}, "cli", T0),
        lambda: twin.replace_desired({"b": 1}, "upstream", T0),
        lambda: twin.patch_reported({}, T0),
    ):
        change()
        versions.append((twin.state.desired.version, twin.state.reported.version, twin.state.version))

    assert versions == [(2, 2, 3), (3, 2, 4), (4, 2, 5), (4, 2, 6), (5, 2, 7), (5, 3, 8)]


@pytest.mark.parametrize(
    "refused",
    [
        lambda twin: twin.patch_desired({"a": [None]}, "cli", T0),
        lambda twin: twin.patch_desired({"held": 2}, "cli", T0),
        lambda twin: twin.replace_desired({"a.b": 1}, "upstream", T0),
        lambda twin: twin.replace_desired([], "upstream", T0),
        lambda twin: twin.patch_reported({"a": 1 << 53}, T0),
        lambda twin: twin.patch_tags({"a": "x" * 4097}, "cli", T0),
    ],
)
def test_a_refused_change_changes_nothing_and_is_remembered(refused):
    twin = new_twin({"a": 1})
    twin.replace_desired({"held": 1}, "upstream", T0)
    before = twin.document()

    with pytest.raises(TwinError):
        refused(twin)

    assert twin.document() == before
    assert len(twin.history.refusals) == 1


def test_the_merged_document_is_what_must_fit():
    twin = new_twin()
    for n in range(8):
        twin.patch_reported({f"k{n}": "x" * 4000}, T0)

    with pytest.raises(TwinError, match="at most 32768 bytes"):
        twin.patch_reported({"k8": "x" * 1000}, T0)

    assert len(twin.reported) == 8


def test_layers_that_fit_each_by_itself_must_fit_together():
    twin = new_twin({f"d{n}": "x" * 4000 for n in range(5)})

    with pytest.raises(TwinError, match="at most 32768 bytes"):
        twin.replace_desired({f"u{n}": "x" * 4000 for n in range(5)}, "upstream", T0)

    assert twin.history.standing("upstream")["path"] == DESIRED


def test_a_module_sees_no_tags_and_no_metadata():
    twin = new_twin({"a": 1})
    twin.patch_tags({"site": "north"}, "cli", T0)

    assert twin.desired_document() == {"a": 1, "$version": 2}
    assert twin.reported_document() == {"$version": 1}


def test_the_document_is_complete():
    twin = new_twin({"a": {"b": 1}})
    twin.patch_tags({"site": "north"}, "cli", T0 + 1000)
    twin.patch_reported({"on": True}, T0 + 2000)
    twin.set_connected(True, T0 + 3000)

    at = "2023-11-14T22:13:2{}.000Z".format
    assert twin.document() == {
        "deviceId": "greenhouse-7",
        "moduleId": "north",
        "etag": "AAAAAAAAAAM=",
        "version": 4,
        "status": "enabled",
        "connectionState": "Connected",
        "lastActivityTime": at(3),
        "tags": {"site": "north"},
        "properties": {
            "desired": {
                "a": {"b": 1},
                "$metadata": {"$lastUpdated": at(0), "a": {"$lastUpdated": at(0), "b": {"$lastUpdated": at(0)}}},
                "$version": 2,
            },
            "reported": {
                "on": True,
                "$metadata": {"$lastUpdated": at(2), "on": {"$lastUpdated": at(2)}},
                "$version": 2,
            },
        },
    }


def test_the_etag_changes_with_tags_and_desired_and_not_with_reports():
    twin = new_twin()
    etags = [twin.document()["etag"]]

    for change in (
        lambda: twin.patch_reported({"a": 1}, T0),
        lambda: twin.patch_tags({"a": 1}, "cli", T0),
        lambda: twin.patch_desired({"a": 1}, "cli", T0),
    ):
        change()
        etags.append(twin.document()["etag"])

    assert etags == ["AAAAAAAAAAE=", "AAAAAAAAAAE=", "AAAAAAAAAAI=", "AAAAAAAAAAM="]


def test_what_the_caller_does_with_its_patch_afterwards_does_not_change_the_twin():
    twin, patch = new_twin(), {"a": [1]}
    twin.patch_reported(patch, T0)

    patch["a"].append(None)

    assert twin.reported == {"a": [1]}


# --- the upstream's document --------------------------------------------------------------------------------------


def test_the_upstreams_document_is_compared_by_content():
    twin = new_twin({"a": 1})
    twin.replace_desired({"a": 2, "b": {"c": 3}}, "upstream", T0)

    again = {"b": {"c": 3}, "a": 2, "$version": 99, "$metadata": {"$lastUpdated": "x"}}
    effect = twin.replace_desired(again, "upstream", T0 + 5000)

    assert effect == Effect(DESIRED, 3, False, None)


def test_a_new_document_of_the_upstream_is_told_as_a_patch_with_nulls():
    twin = new_twin()
    twin.replace_desired({"a": 1, "b": {"c": 2, "d": 3}}, "upstream", T0)

    effect = twin.replace_desired({"b": {"c": 5}}, "upstream", T0)

    assert effect.notification == {"a": None, "b": {"c": 5, "d": None}, "$version": 3}
    assert twin.desired == {"b": {"c": 5}}


def test_what_the_upstream_no_longer_says_shows_what_was_beneath():
    twin = new_twin({"a": 1, "b": 1})
    twin.patch_desired({"b": 2}, "cli", T0)
    twin.replace_desired({"a": 3}, "upstream", T0)

    effect = twin.replace_desired({}, "upstream", T0)

    assert twin.desired == {"a": 1, "b": 2}
    assert effect.notification == {"a": 1, "$version": 5}


def test_a_null_of_the_upstream_takes_a_default_away():
    twin = new_twin({"a": 1, "b": 1})

    effect = twin.replace_desired({"a": None}, "upstream", T0)

    assert twin.desired == {"b": 1}
    assert effect.notification == {"a": None, "$version": 3}


def test_the_upstream_takes_over_a_key_that_a_person_has_set():
    twin = new_twin({"a": 1})
    twin.patch_desired({"a": 2}, "cli", T0)

    twin.replace_desired({"a": 3}, "upstream", T0)

    assert twin.desired == {"a": 3}
    with pytest.raises(TwinError, match="the upstream says 3: change it there"):
        twin.patch_desired({"a": 4}, "cli", T0)


def test_a_document_that_says_only_what_is_so_already_changes_the_owner_and_no_version():
    twin = new_twin({"a": 1})

    effect = twin.replace_desired({"a": 1}, "upstream", T0 + 1000)

    assert effect == Effect(DESIRED, 2, False, None)
    assert twin.blame()["a"]["origin"] == "upstream"
    assert twin.dirty is Urgency.NOW


# --- defaults and configuration -----------------------------------------------------------------------------------


def test_starting_again_with_the_same_files_changes_nothing():
    twin = new_twin({"a": 1}, {"b": 2})
    data = saved(twin, is_last=True)

    again = reopened(data)
    effect = again.reconcile({"a": 1}, {"b": 2}, T0 + 9000)

    assert effect == Effect(DESIRED, 2, False, None)
    assert again.dirty is Urgency.NOTHING
    assert again.document() == twin.document()


@pytest.mark.parametrize(
    ("defaults", "configured", "desired"),
    [
        ({"a": 9, "b": 1, "c": 1}, {"b": 2}, {"a": 9, "b": 2, "c": 3, "d": 4}),  # only a is still the default's
        ({"b": 1, "c": 1}, {"b": 2}, {"b": 2, "c": 3, "d": 4}),  # a default that went
        ({"a": 1, "b": 1, "c": 1, "e": 1}, {"b": 2}, {"a": 1, "b": 2, "c": 3, "d": 4, "e": 1}),  # a new one
        ({"a": 1, "b": 1, "c": 1}, {"b": 8}, {"a": 1, "b": 8, "c": 3, "d": 4}),
        ({"a": 1, "b": 1, "c": 1}, {}, {"a": 1, "b": 1, "c": 3, "d": 4}),
        ({"a": 1, "b": 1, "c": 1}, {"b": 2, "c": 8, "d": 8}, {"a": 1, "b": 2, "c": 3, "d": 4}),  # held above
    ],
)
def test_new_defaults_and_configuration_show_where_nobody_above_speaks(defaults, configured, desired):
    twin = new_twin({"a": 1, "b": 1, "c": 1}, {"b": 2})
    twin.patch_desired({"c": 3}, "cli", T0)
    twin.replace_desired({"d": 4}, "upstream", T0)

    effect = twin.reconcile(defaults, configured, T0)

    assert twin.desired == desired
    assert effect.changed is (effect.notification is not None)


def test_a_configuration_that_does_not_fit_leaves_what_runs():
    twin = new_twin({"a": 1}, {"b": 2})
    before = twin.document()

    effect = twin.reconcile({"a": 1}, {"b": "x" * 5000}, T0)

    assert (effect.changed, twin.document()) == (False, before)
    assert twin.history.standing("configuration")["path"] == "properties.desired.b"


def test_a_configuration_that_fits_does_not_settle_a_refused_edit():
    twin = new_twin({"a": 1}, {"b": 2})
    with pytest.raises(TwinError):
        twin.apply_edit(b"{", T0)
    twin.reconcile({"a": 1}, {"b": 3}, T0)

    assert twin.history.standing("file") is not None
    assert [entry["origin"] for entry in twin.history.changes] == ["configuration", "configuration"]


def test_a_new_twin_takes_the_defaults_if_the_configuration_does_not_fit():
    twin = new_twin({"a": 1}, {"b": "x" * 5000})

    assert twin.desired == {"a": 1}
    assert len(twin.history.refusals) == 1


# --- who did it ---------------------------------------------------------------------------------------------------


def test_every_key_remembers_who_set_it_when_and_what_was_before():
    twin = new_twin({"a": 1, "b": 1, "c": 1, "d": 1}, {"b": 2})
    twin.patch_desired({"c": 3}, "cli", T0 + 1000)
    twin.replace_desired({"d": 4, "e": 5}, "upstream", T0 + 2000)

    at = "2023-11-14T22:13:2{}.000Z".format
    assert twin.blame() == {
        "a": {"origin": "default", "layer": "default", "time": at(0)},
        "b": {"origin": "file", "layer": "configuration", "time": at(0)},
        "c": {"origin": "cli", "layer": "local", "time": at(1), "before": 1},
        "d": {"origin": "upstream", "layer": "upstream", "time": at(2), "before": 1},
        "e": {"origin": "upstream", "layer": "upstream", "time": at(2)},
    }


def test_a_key_that_the_upstream_gives_back_is_again_the_persons():
    twin = new_twin({"a": 1})
    twin.patch_desired({"a": 2}, "file", T0)
    twin.replace_desired({"a": 3}, "upstream", T0)

    twin.replace_desired({}, "upstream", T0 + 1000)

    assert twin.blame()["a"] == {
        "origin": "file",
        "layer": "local",
        "time": "2023-11-14T22:13:21.000Z",
        "before": 3,
    }


def test_the_history_names_version_origin_and_both_values():
    twin = new_twin()
    twin.patch_desired({"a": 1}, "upstream", T0)
    twin.patch_tags({"t": 1}, "cli", T0)

    assert [(it["part"], it["version"], it["origin"], it["changes"]) for it in twin.history.changes] == [
        (DESIRED, 2, "upstream", [{"path": "a", "after": 1}]),
        (TAGS, 3, "cli", [{"path": "t", "after": 1}]),
    ]


def test_reports_are_no_history():
    twin = new_twin()

    twin.patch_reported({"a": 1}, T0)

    assert twin.history.changes == []


# --- an edit with an editor ---------------------------------------------------------------------------------------


def edited(data: bytes, change) -> bytes:
    document = json.loads(data)
    change(document)
    return json.dumps(document, indent=4).encode()


def set_a(document, value=9):
    document["properties"]["desired"]["a"] = value


def test_an_edit_of_desired_and_tags_is_taken_and_versioned():
    twin = new_twin({"a": 1, "b": 1})
    data = saved(twin)

    def change(document):
        set_a(document)
        del document["properties"]["desired"]["b"]
        document["tags"] = {"site": "north"}

    desired, tags = twin.apply_edit(edited(data, change), T0)

    assert desired == Effect(DESIRED, 3, True, {"b": None, "a": 9, "$version": 3})
    assert tags == Effect(TAGS, 4, True, {"site": "north", "$version": 4})
    assert (twin.desired, twin.tags) == ({"a": 9}, {"site": "north"})
    assert (twin.blame()["a"]["origin"], twin.blame()["a"]["layer"]) == ("file", "local")


def test_an_edit_keeps_what_changed_while_the_editor_was_open():
    twin = new_twin({"a": 1, "b": 1})
    data = saved(twin)
    twin.patch_reported({"r": 1}, T0)
    twin.replace_desired({"b": 2}, "upstream", T0)
    saved(twin)

    twin.apply_edit(edited(data, set_a), T0)

    assert (twin.desired, twin.reported) == ({"a": 9, "b": 2}, {"r": 1})


@pytest.mark.parametrize(
    "change",
    [
        lambda document: None,
        lambda document: document["properties"]["reported"].update(r=1),  # was 1.0: jq and others write it so
    ],
)
def test_a_text_that_was_only_formatted_anew_changes_nothing(change):
    twin = new_twin({"a": 1})
    twin.patch_reported({"r": 1.0}, T0)
    data = saved(twin)

    desired, tags = twin.apply_edit(edited(data, change), T0)

    assert (desired.notification, tags.notification, twin.dirty) == (None, None, Urgency.NOTHING)


@pytest.mark.parametrize(
    ("change", "path", "expected", "line"),
    [
        (lambda it: set_a(it, [None]), "properties.desired.a[0]", "must not contain null", '"a": ['),
        (lambda it: set_a(it, None), "properties.desired.a", "leave the key out", '"a": null'),
        (lambda it: set_a(it, "x" * 4097), "properties.desired.a", "at most 4096 bytes", '"a": "xxx'),
        (lambda it: it["tags"].update({"a b": 1}), "tags", "a key of", '"tags"'),
        (lambda it: it["properties"]["desired"].update(held=2), "properties.desired.held", "does not set", '"held": 2'),
        (lambda it: it["properties"]["reported"].update(r=2), "properties.reported.r", "edits of", '"r": 2'),
        (lambda it: it.update(version=99), "version", "edits of", '"version": 99'),
        (lambda it: it.update(moduleId="south"), "moduleId", "edits of", '"south"'),
        (lambda it: it["microedge"]["blame"].clear(), "microedge.blame", "edits of", '"blame": {}'),
        (lambda it: it.pop("tags"), "tags", "an object", None),
        (lambda it: it["properties"].pop("desired"), "properties.desired", "an object", '"properties": {'),
        (lambda it: it["properties"].update(desired=5), "properties.desired", "an object", '"desired": 5'),
        (lambda it: it.pop("microedge"), "", "the file of a twin", None),
    ],
)
def test_an_edit_that_cannot_be_taken_is_refused_with_its_line(change, path, expected, line):
    twin = new_twin({"a": 1})
    twin.replace_desired({"held": 1}, "upstream", T0)
    twin.patch_reported({"r": 1}, T0)
    data = edited(saved(twin), change)
    before = twin.document()

    with pytest.raises(TwinError) as caught:
        twin.apply_edit(data, T0)

    assert caught.value.path.startswith(path)
    assert expected in caught.value.expected
    assert twin.document() == before
    assert twin.history.standing("file") is not None
    assert (line or "") in data.decode().splitlines()[caught.value.line - 1]
    assert (caught.value.line > 0) is (line is not None)


def test_nothing_is_taken_of_an_edit_of_which_a_part_is_refused():
    twin = new_twin({"a": 1})
    data = saved(twin)

    def change(document):
        set_a(document)
        document["tags"] = {"t": "x" * 5000}

    with pytest.raises(TwinError, match=r"tags\.t"):
        twin.apply_edit(edited(data, change), T0)

    assert (twin.desired, twin.tags) == ({"a": 1}, {})


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (b'{\n  "a": 1,\n  oops\n}', 3),
        (b'{\n  "a": NaN }', 0),
        (b'{\n"a": "\xff"}', 2),
        (b"", 1),
        (b"[]", 0),
        (b"null", 0),
        (b"[" * 100_000, 0),
        (b'{"a":' * 900 + b"1" + b"}" * 900, 0),
        (b"9" * 5000, 0),
        (b"x" * (4 * 1024 * 1024 + 1), 0),
    ],
)
def test_a_text_that_is_no_twin_is_refused(data, line):
    twin = new_twin({"a": 1})

    with pytest.raises(TwinError) as caught:
        twin.apply_edit(data, T0)

    assert caught.value.line == line


def test_a_good_edit_settles_the_refusal_of_a_bad_one():
    twin = new_twin({"a": 1})
    data = saved(twin)
    with pytest.raises(TwinError):
        twin.apply_edit(data[:-20], T0)

    twin.apply_edit(edited(data, set_a), T0)

    assert twin.history.standing("file") is None


# --- what waits to be saved ---------------------------------------------------------------------------------------


def test_what_waits_and_how_urgently():
    twin = new_twin({"a": 1})
    found = [twin.dirty]

    for change in (
        lambda: saved(twin),
        lambda: twin.patch_reported({"r": 1}, T0),
        lambda: saved(twin),
        lambda: twin.set_connected(True, T0),
        lambda: twin.patch_desired({"a": 2}, "cli", T0),
        lambda: saved(twin),
        twin.must_save,
        lambda: saved(twin),
    ):
        change()
        found.append(twin.dirty)

    now, later, nothing = Urgency.NOW, Urgency.LATER, Urgency.NOTHING
    assert found == [now, nothing, later, nothing, nothing, now, nothing, now, nothing]


def test_a_change_during_a_write_still_waits_afterwards():
    twin = new_twin({"a": 1})
    snapshot = twin.snapshot()
    twin.patch_desired({"a": 2}, "cli", T0)

    twin.saved(snapshot)

    assert twin.dirty is Urgency.NOW


def test_after_a_crash_no_version_is_used_twice():
    twin = new_twin()
    data = saved(twin)
    seen = [twin.patch_reported({"r": n}, T0).version for n in range(200)]

    again = reopened(data)
    effect = again.patch_reported({"r": 1}, T0)

    assert effect.version > max(seen)
    assert again.state.version > twin.state.version


def test_after_a_regular_stop_the_versions_go_on_without_a_gap():
    twin = new_twin()
    twin.patch_reported({"r": 1}, T0)
    data = saved(twin, is_last=True)

    again = reopened(data)

    assert again.dirty is Urgency.NOTHING
    assert again.patch_reported({"r": 2}, T0).version == 3
    assert again.dirty is Urgency.SOON  # or a crash could use this version again


def test_a_twin_comes_back_as_it_was_saved():
    twin = new_twin({"a": 1, "x": {"y": 1}}, {"b": 2})
    twin.patch_desired({"c": [1.5, {"d": "é\u2028"}]}, "cli", T0)
    twin.patch_desired({"x": None}, "file", T0)
    twin.replace_desired({"e": None, "f": {}}, "upstream", T0)
    twin.patch_tags({"t": True}, "cli", T0)
    twin.patch_reported({"r": {"s": -0.5}}, T0)
    with pytest.raises(TwinError):
        twin.patch_reported({"": 1}, T0)

    again = reopened(saved(twin, is_last=True))

    assert again.state == twin.state
    assert (again.history.changes, again.history.refusals) == (twin.history.changes, twin.history.refusals)
    assert again.overruled() == twin.overruled()


def test_a_snapshot_does_not_change_with_the_twin():
    twin = new_twin({"a": 1})
    with pytest.raises(TwinError):
        twin.patch_desired({"a.b": 1}, "cli", T0)
    snapshot = twin.snapshot()
    before = snapshot.render()

    twin.patch_desired({"a": {"b": 1}}, "cli", T0)
    twin.patch_reported({"r": {"s": 1}}, T0)
    twin.patch_tags({"t": 1}, "cli", T0)
    twin.set_connected(True, T0)

    assert snapshot.render() == before

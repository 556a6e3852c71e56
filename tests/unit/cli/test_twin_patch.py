from __future__ import annotations

import pytest

from microedge.cli.failure import USAGE, CommandError
from microedge.cli.twin_patch import object_of, patch_of


@pytest.mark.parametrize(
    ("words", "unset", "patch"),
    [
        (["a=1"], [], {"a": 1}),
        (["limits.max=3", "limits.min=-0.5", "on=true"], [], {"limits": {"max": 3, "min": -0.5}, "on": True}),
        (["name=north wall"], [], {"name": "north wall"}),
        (['name="5"'], [], {"name": "5"}),
        (['name=""'], [], {"name": ""}),
        (["name="], [], {"name": None}),
        (["name=null"], [], {"name": None}),
        (["a=1"], ["b", "c.d"], {"a": 1, "b": None, "c": {"d": None}}),
        ([], ["b"], {"b": None}),
        (["formula=a=b"], [], {"formula": "a=b"}),
        (["list=[1, 2]", 'object={"x": {"y": 1}}'], [], {"list": [1, 2], "object": {"x": {"y": 1}}}),
        (["a=NaN", "b=-Infinity", "c=0x10", "d=True"], [], {"a": "NaN", "b": "-Infinity", "c": "0x10", "d": "True"}),
        (["ä=ö"], [], {"ä": "ö"}),
        (['{"a": {"b": null}, "$version": 4}'], [], {"a": {"b": None}, "$version": 4}),
        (["{}"], [], {}),
    ],
)
def test_words_become_a_patch(words, unset, patch):
    assert patch_of(words, unset) == patch


@pytest.mark.parametrize(
    ("words", "unset", "error"),
    [
        ([], [], "nothing to set"),
        (["a"], [], "'a': expected KEY=VALUE"),
        (["=1"], [], "a key is missing"),
        (["a..b=1"], [], "a key is missing"),
        ([".a=1"], [], "a key is missing"),
        ([], ["a."], "a key is missing"),
        (["a=1", "a=2"], [], "a is given twice"),
        (["a=1"], ["a"], "a is given twice"),
        (["a.b=1", "c=0", "a=2"], [], "a and a.b contradict each other"),
        (["$version=3"], [], r"\$version is kept by microedge itself"),
        (["$metadata.a=3"], [], r"\$metadata is kept by microedge itself"),
        (['{"a": 1'], [], "this is not JSON"),
        (['{"a": NaN}'], [], "this is not JSON: NaN is no JSON"),
        (['{"a": 1}', "b=1"], [], "expected KEY=VALUE"),
        (['{"a": 1}'], ["b"], "--unset beside a JSON object"),
        (["a=\udcff"], [], "expected UTF-8"),
        (["\udcff=1"], [], "expected UTF-8"),
        ([], ["\udcff"], "expected UTF-8"),
        (["a=" + "[" * 100_000], [], "nested too deeply"),
    ],
)
def test_what_is_no_change_is_a_usage_error_that_shows_how_to_write_one(words, unset, error):
    with pytest.raises(CommandError, match=error) as found:
        patch_of(words, unset)

    assert found.value.exit_code == USAGE
    assert found.value.advice


@pytest.mark.parametrize("text", ["[1]", "3", "null", "", "{", "[" * 100_000, '{"a": "\udcff"}'], ids=range(7))
def test_standard_input_must_hold_an_object(text):
    with pytest.raises(CommandError) as found:
        object_of(text)

    assert found.value.exit_code == USAGE


def test_an_error_shows_nothing_that_could_move_the_cursor():
    for word in ("\x1b[2J", "\x1b[2J.=1", '{"a\x1b[2J'):
        with pytest.raises(CommandError) as found:
            patch_of([word])
        assert "\x1b" not in f"{found.value}{found.value.advice}"

"""From the words of `microedge twin set` to the change that they ask for. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any, NoReturn

from microedge.cli.failure import USAGE, CommandError
from microedge.cli.terminal import clean
from microedge.twin.document import SYSTEM_KEYS

_ADVICE = """write KEY=VALUE with dots between levels, limits.max=3, or one JSON object: '{"limits": {"max": 3}}'"""


def patch_of(words: Sequence[str], unset: Sequence[str] = ()) -> dict[str, Any]:
    """Return the patch that `KEY=VALUE ...`, or one JSON object, and the keys of `--unset` describe.

    A value is JSON where it parses and text where it does not; an empty one, and null, removes the key.

    Raises:
        CommandError: a word is neither, a key is no key, two words contradict each other, or nothing is asked for.
    """
    if not words and not unset:
        raise CommandError("nothing to set", _ADVICE, USAGE)
    if len(words) == 1 and words[0].lstrip().startswith("{"):
        if unset:
            raise CommandError("--unset beside a JSON object", "write null in it for what is to go", USAGE)
        return object_of(words[0])
    pairs = [_pair(word) for word in words] + [(_path(key, key), None) for key in unset]
    _check_apart([path for path, _ in pairs])
    patch: dict[str, Any] = {}
    for path, value in pairs:
        _put(patch, path, value)
    return patch


def object_of(text: str) -> dict[str, Any]:
    """Return the JSON object that `text` is.

    Raises:
        CommandError: it is none.
    """
    try:
        value = json.loads(_encodable(text), parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise CommandError(f"this is not JSON: {clean(error)}: {clean(text, 80)}", _ADVICE, USAGE) from error
    if not isinstance(value, dict):
        raise CommandError(f"this is JSON but no object: {clean(text, 80)}", _ADVICE, USAGE)
    return value


def value_of(text: str) -> Any:
    """Return the value that the text behind `KEY=` stands for: JSON where it parses, null for nothing, else the text.

    Raises:
        CommandError: it is nested too deeply for JSON.
    """
    if not text:
        return None
    try:
        return json.loads(text, parse_constant=_no_constant)
    except ValueError:
        return text
    except RecursionError as error:
        raise CommandError(f"brackets nested too deeply: {clean(text, 80)}", _ADVICE, USAGE) from error


def _pair(word: str) -> tuple[tuple[str, ...], Any]:
    key, equals, text = _encodable(word).partition("=")
    if not equals:
        raise CommandError(f"{clean(word, 80)!r}: expected KEY=VALUE", _ADVICE, USAGE)
    return _path(key, word), value_of(text)


def _path(key: str, word: str) -> tuple[str, ...]:
    path = tuple(_encodable(key).split("."))
    if "" in path:
        raise CommandError(f"{clean(word, 80)!r}: a key is missing before, between or behind dots", _ADVICE, USAGE)
    if path[0] in SYSTEM_KEYS:
        raise CommandError(f"{clean(word, 80)!r}: {path[0]} is kept by microedge itself", "leave it out", USAGE)
    return path


def _check_apart(paths: Iterable[tuple[str, ...]]) -> None:
    """Refuse one key twice, and one inside another: which of them is meant would depend on their order."""
    given: list[tuple[str, ...]] = []
    for path in sorted(paths):
        if given and path[: len(given[-1])] == given[-1]:
            first, second = (clean(".".join(each), 80) for each in (given[-1], path))
            found = f"{first} is given twice" if first == second else f"{first} and {second} contradict each other"
            raise CommandError(found, "give each key once", USAGE)
        given.append(path)


def _put(patch: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for key in path[:-1]:
        patch = patch.setdefault(key, {})
    patch[path[-1]] = value


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:  # an argument, or a file, in another encoding
        raise CommandError(f"{clean(text, 80)}: expected UTF-8", "check the encoding of the terminal", USAGE) from error
    return text


def _no_constant(text: str) -> NoReturn:
    raise ValueError(f"{text} is no JSON")

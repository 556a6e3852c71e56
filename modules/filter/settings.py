"""The desired properties of a filter, checked. A person wrote them, so every refusal says what to write instead."""

from __future__ import annotations

import re

from .facts import Match, path_of  # noqa: TID252 (works under whatever name the runner loads this package)
from .judge import ALL, ANY, DROP, PASS  # noqa: TID252
from .rules import Change, Deadband, Rate, Rule, Threshold, number_of  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .rules import Test  # noqa: TID252

    Check = tuple[Any, str, Callable[[Any], bool]]
    """A key's default, what is expected of it in words, and whether a value is that."""

MAX_RULES = 64  # more do not fit into a desired document of 32 KiB with room for anything else
_SHOWN_CHARS = 80
_REQUIRED = object()
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")


class SettingsError(ValueError):
    """A desired property is wrong; the text says which, what was found and what was expected."""


class Settings:
    """What the desired properties say; see README.md. `written` is what they were made of, for comparing."""

    mode: str
    missing: str
    pass_first: bool
    heartbeat_s: float
    status_interval_s: float
    rules: list[Rule]

    def __init__(self, desired: dict[str, Any]) -> None:
        """Check and store.

        Raises:
            SettingsError: something is wrong; a person must edit it.
        """
        self.written = {key: value for key, value in desired.items() if not key.startswith("$")}
        values = _checked(self.written, _KEYS, "")
        written_rules = values.pop("rules")
        self.__dict__.update(values)
        self.rules = [
            _rule(written, number, pass_first=self.pass_first) for number, written in enumerate(written_rules, start=1)
        ]
        self._check_names()
        self._check_heartbeat(written_rules)

    def _check_names(self) -> None:
        seen: set[str] = set()
        for number, rule in enumerate(self.rules, start=1):
            if rule.name in seen:
                raise SettingsError(f"rule {number}: name = {_shown(rule.name)}: expected a name of its own")
            seen.add(rule.name)

    def _check_heartbeat(self, written_rules: list[dict[str, Any]]) -> None:
        for number, written in enumerate(written_rules, start=1):
            interval_s = written["interval_s"] if written["kind"] == "rate" else 0
            if self.mode == ALL and 0 < self.heartbeat_s < interval_s:
                raise SettingsError(
                    f"heartbeat_s = {self.heartbeat_s:g}: expected 0, or at least the interval_s = {interval_s:g} of "
                    f"rule {number}, which allows nothing more often"
                )


def _rule(written: Any, number: int, *, pass_first: bool) -> Rule:
    where = f"rule {number}"
    if not isinstance(written, dict):
        raise SettingsError(f'{where} = {_shown(written)}: expected a table, as {{ kind = "rate", interval_s = 10 }}')
    kind = written.get("kind", _REQUIRED)
    if kind is _REQUIRED:
        raise SettingsError(f"{where}: kind: missing: expected {_one_of(_KINDS)}")
    if not isinstance(kind, str) or kind not in _KINDS:
        hint = _nearest(kind, _KINDS) if isinstance(kind, str) else ""
        raise SettingsError(f"{where}: kind = {_shown(kind)}: expected {_one_of(_KINDS)}{hint}")
    keys, make = _KINDS[kind]
    where = f"{where} ({kind})"
    values = _checked(written, {**_COMMON, **keys}, f"{where}: ")
    path = _path(values["field"], where) if "field" in values else None
    make(values, where, pass_first)  # what is wrong with it is said now, not at the first message
    return Rule(
        values["name"] or f"{kind}-{number}",
        path,
        _match(values["match"], where),
        lambda: make(values, where, pass_first),
    )


def _match(written: dict[str, Any], where: str) -> Match:
    values = _checked(written, _MATCH, f"{where}: match.")
    if values["equals"] is not None and not values["property"]:
        raise SettingsError(f"{where}: match.equals = {_shown(values['equals'])}: expected a property beside it")
    return Match(**values)


def _path(field: str, where: str) -> tuple[str, ...]:
    try:
        return path_of(field)
    except ValueError as error:
        raise SettingsError(f"{where}: field = {_shown(field)}: expected {error}") from error


def _threshold(values: dict[str, Any], where: str, pass_first: bool) -> Test:
    above, below, hysteresis = values["above"], values["below"], values["hysteresis"]
    if above is None and below is None:
        raise SettingsError(f"{where}: above, below: missing: expected one of them, or both")
    if above is not None and below is not None:
        if below >= above:
            raise SettingsError(f"{where}: below = {below:g}: expected less than above = {above:g}")
        if 2 * hysteresis > above - below:
            room = (above - below) / 2
            raise SettingsError(
                f"{where}: hysteresis = {hysteresis:g}: expected at most {room:g}, half of the way from below to above"
            )
    return Threshold(above, below, hysteresis, crossings_only=values["crossings_only"], pass_first=pass_first)


def _deadband(values: dict[str, Any], where: str, pass_first: bool) -> Test:
    if not values["absolute"] and not values["percent"]:
        raise SettingsError(f"{where}: absolute, percent: missing: expected one of them above 0, or both")
    return Deadband(values["absolute"], values["percent"], pass_first=pass_first)


def _rate(values: dict[str, Any], where: str, pass_first: bool) -> Test:
    return Rate(values["interval_s"])


def _change(values: dict[str, Any], where: str, pass_first: bool) -> Test:
    return Change(pass_first=pass_first)


def _checked(written: dict[str, Any], keys: dict[str, Check], where: str) -> dict[str, Any]:
    """Return the value or the default of each key; raises SettingsError for the first that is wrong."""
    for key in written:
        if key not in keys:
            hint = _nearest(key, keys) or f"; known are {', '.join(keys)}"
            raise SettingsError(f"{where}{_printable(key)} = {_shown(written[key])}: unknown key{hint}")
    values = {}
    for key, (default, expected, holds) in keys.items():
        value = written.get(key, default)
        if value is _REQUIRED:
            raise SettingsError(f"{where}{key}: missing: expected {expected}")
        if key in written and not holds(value):
            raise SettingsError(f"{where}{key} = {_shown(value)}: expected {expected}")
        values[key] = value
    return values


def _nearest(word: str, known: dict[str, Any]) -> str:
    import difflib  # only for people who mistype

    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…"


def _printable(key: str) -> str:
    return key if key.isprintable() and len(key) <= _SHOWN_CHARS else _shown(key)


def _one_of(names: Any) -> str:
    return f"one of {', '.join(names)}"


def _choice(default: str, *names: str) -> Check:
    return default, _one_of(names), lambda value: isinstance(value, str) and value in names


def _number(default: object, low: float, high: float) -> Check:
    return default, f"a number from {low:g} to {high:.12g}", lambda value: _is_number(value) and low <= value <= high


def _limit() -> Check:
    return None, "a finite number", _is_number


def _truth(default: bool) -> Check:
    return default, "true or false", lambda value: isinstance(value, bool)


def _text(default: object, max_chars: int) -> Check:
    expected = f"text of 1 to {max_chars} characters"
    return default, expected, lambda value: isinstance(value, str) and 0 < len(value) <= max_chars


def _name(what: str) -> Check:
    expected = f"the name of {what}: letters, digits, _ and -, at most 64"
    return "", expected, lambda value: isinstance(value, str) and _NAME.fullmatch(value) is not None


def _is_number(value: object) -> bool:
    return number_of(value) is not None


def _is_rule_list(value: object) -> bool:
    return isinstance(value, list) and 0 < len(value) <= MAX_RULES


_YEAR_S = 31_536_000
_RULE_LIST = f"a list of 1 to {MAX_RULES} rules, each a table"
_FIELD = "the field of the JSON body to look at, as celsius or probe.celsius"
_KEYS: dict[str, Check] = {
    "rules": (_REQUIRED, _RULE_LIST, _is_rule_list),
    "mode": _choice(ALL, ALL, ANY),
    "missing": _choice(PASS, PASS, DROP),
    "pass_first": _truth(True),
    "heartbeat_s": _number(0, 0, _YEAR_S),
    "status_interval_s": _number(60, 1, 86_400),
}
_COMMON: dict[str, Check] = {
    "kind": _text(_REQUIRED, 64),
    "name": _name("the rule"),
    "match": ({}, 'a table, as { module = "north" }', lambda value: isinstance(value, dict)),
}
_MATCH: dict[str, Check] = {
    "module": _name("a module"),
    "output": _name("an output"),
    "property": _text("", 256),
    "equals": (None, "text of at most 256 characters", lambda value: isinstance(value, str) and len(value) <= 256),
}
_FIELD_KEY: dict[str, Check] = {"field": (_REQUIRED, _FIELD, _text("", 256)[2])}
_KINDS: dict[str, tuple[dict[str, Check], Callable[[dict[str, Any], str, bool], Test]]] = {
    "threshold": (
        {
            **_FIELD_KEY,
            "above": _limit(),
            "below": _limit(),
            "hysteresis": _number(0, 0, 1e300),
            "crossings_only": _truth(False),
        },
        _threshold,
    ),
    "deadband": ({**_FIELD_KEY, "absolute": _number(0, 0, 1e300), "percent": _number(0, 0, 1e6)}, _deadband),
    "rate": ({"interval_s": _number(_REQUIRED, 0.001, _YEAR_S)}, _rate),
    "change": ({"field": ("$body", _FIELD, _text("", 256)[2])}, _change),
}

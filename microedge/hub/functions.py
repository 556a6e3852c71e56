"""The functions of the route language: what they take, what they give, and what they do.

Every function takes any values and never raises: what does not fit is undefined. What can be known of the arguments
before there is a message is checked when a route is read (`checks.py`).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass

from microedge.hub.values import NULL, Kind, Value

Kinds = frozenset[Kind]

NUMBERS: Kinds = frozenset({Kind.NUMBER, Kind.ANY})
TEXTS: Kinds = frozenset({Kind.TEXT, Kind.ANY})
_EITHER: Kinds = NUMBERS | TEXTS
_ALL: Kinds = frozenset(Kind)

# No thousands separators, currency signs or parentheses, which .NET would take.
_NUMBER = re.compile(r"\s*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\s*")


@dataclass(frozen=True)
class Function:
    """`parameters` says which kinds each argument may have; the last `optional` of them may be left out.

    With `is_variadic` any number of further arguments like the last one may follow.
    """

    apply: Callable[..., Value]
    parameters: tuple[Kinds, ...]
    result: Kind
    optional: int = 0
    is_variadic: bool = False

    def takes(self, count: int) -> bool:
        """True when it can be called with `count` arguments."""
        least = len(self.parameters) - self.optional
        return least <= count and (self.is_variadic or count <= len(self.parameters))

    def parameter(self, index: int) -> Kinds:
        """Return the kinds that the argument at `index` may have."""
        return self.parameters[min(index, len(self.parameters) - 1)]


def defined(number: float) -> float | None:
    """Return a number, or undefined for what is not a number."""
    return None if number != number else number


def divide(left: float, right: float) -> float | None:
    """Return left / right; infinite for a number divided by 0."""
    if right:
        return defined(left / right)
    return defined(left * math.copysign(math.inf, right)) if left else None


def modulo(left: float, right: float) -> float | None:
    """Return the rest of a division, with the sign of `left`; undefined for a division by 0."""
    return defined(math.fmod(left, right)) if right and not math.isinf(left) else None


def as_number(value: Value) -> float | None:
    """Return the number that a text is, in plain or scientific notation, or a number as it is."""
    if isinstance(value, str):
        return float(value) if _NUMBER.fullmatch(value) else None
    return value if isinstance(value, float) else None


def concat(*values: Value) -> str | None:
    """Return the texts joined; undefined unless all are text."""
    texts = [value for value in values if isinstance(value, str)]
    return "".join(texts) if len(texts) == len(values) else None


def _of_number(function: Callable[[float], float]) -> Callable[[Value], Value]:
    def apply(value: Value) -> Value:
        return defined(function(value)) if isinstance(value, float) else None

    return apply


def _of_text(function: Callable[[str], Value]) -> Callable[[Value], Value]:
    def apply(value: Value) -> Value:
        return function(value) if isinstance(value, str) else None

    return apply


def _of_texts(function: Callable[[str, str], Value]) -> Callable[[Value, Value], Value]:
    def apply(left: Value, right: Value) -> Value:
        return function(left, right) if isinstance(left, str) and isinstance(right, str) else None

    return apply


def _exp(number: float) -> float:
    try:
        return math.exp(number)
    except OverflowError:
        return math.inf


def _power(base: Value, exponent: Value) -> float | None:
    if not (isinstance(base, float) and isinstance(exponent, float)):
        return None
    try:
        return defined(math.pow(base, exponent))
    except OverflowError:
        return -math.inf if base < 0 and exponent % 2 == 1 else math.inf
    except ValueError:  # a root of a negative number, or 0 to a negative power
        return math.inf if base == 0 else None


def _rounded(function: Callable[[float], int]) -> Callable[[float], float]:
    return lambda number: float(function(number)) if math.isfinite(number) else number


def _sign(number: float) -> float:
    return float((number > 0) - (number < 0))


def _sqrt(number: float) -> float:
    return math.sqrt(number) if number >= 0 else math.nan


def _substring(text: Value, start: Value, *lengths: Value) -> str | None:
    if not (isinstance(text, str) and isinstance(start, float) and 0 <= start <= len(text)):
        return None
    if not lengths:
        return text[int(start) :]
    length = lengths[0]
    if start == len(text) or not isinstance(length, float) or not 0 <= length <= len(text) - start:
        return None
    return text[int(start) : int(start) + int(length)]


def _is(kind: type) -> Callable[[Value], Value]:
    return lambda value: isinstance(value, kind)


def _is_number(value: Value) -> bool:
    return isinstance(value, float) and math.isfinite(value)


_ONE_NUMBER, _ONE_TEXT, _TWO_TEXTS = (NUMBERS,), (TEXTS,), (TEXTS, TEXTS)

FUNCTIONS: dict[str, Function] = {
    "abs": Function(_of_number(abs), _ONE_NUMBER, Kind.NUMBER),
    "exp": Function(_of_number(_exp), _ONE_NUMBER, Kind.NUMBER),
    "power": Function(_power, (NUMBERS, NUMBERS), Kind.NUMBER),
    "square": Function(_of_number(lambda number: number * number), _ONE_NUMBER, Kind.NUMBER),
    "ceiling": Function(_of_number(_rounded(math.ceil)), _ONE_NUMBER, Kind.NUMBER),
    "floor": Function(_of_number(_rounded(math.floor)), _ONE_NUMBER, Kind.NUMBER),
    "sign": Function(_of_number(_sign), _ONE_NUMBER, Kind.NUMBER),
    "sqrt": Function(_of_number(_sqrt), _ONE_NUMBER, Kind.NUMBER),
    "as_number": Function(as_number, (_EITHER,), Kind.NUMBER),
    "is_bool": Function(_is(bool), (_ALL,), Kind.BOOL),
    "is_defined": Function(lambda value: value is not None, (_ALL,), Kind.BOOL),
    "is_null": Function(lambda value: value is NULL, (_ALL,), Kind.BOOL),
    "is_number": Function(_is_number, (_ALL,), Kind.BOOL),
    "is_string": Function(_is(str), (_ALL,), Kind.BOOL),
    "concat": Function(concat, _TWO_TEXTS, Kind.TEXT, is_variadic=True),
    "length": Function(_of_text(lambda text: float(len(text))), _ONE_TEXT, Kind.NUMBER),
    "lower": Function(_of_text(str.lower), _ONE_TEXT, Kind.TEXT),
    "upper": Function(_of_text(str.upper), _ONE_TEXT, Kind.TEXT),
    "substring": Function(_substring, (TEXTS, NUMBERS, NUMBERS), Kind.TEXT, optional=1),
    "index_of": Function(_of_texts(lambda text, part: float(text.find(part))), _TWO_TEXTS, Kind.NUMBER),
    "starts_with": Function(_of_texts(str.startswith), _TWO_TEXTS, Kind.BOOL),
    "ends_with": Function(_of_texts(str.endswith), _TWO_TEXTS, Kind.BOOL),
    "contains": Function(_of_texts(lambda text, part: part in text), _TWO_TEXTS, Kind.BOOL),
}
TWIN_CHANGE_INCLUDES = "twin_change_includes"  # no function of values: its argument is a path

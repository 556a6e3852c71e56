"""Direct methods: what a call and its answer are, and what they may hold.

A payload is one JSON value as UTF-8 bytes on its whole way; only its ends look into it.
"""

from __future__ import annotations

import json
import re

from microedge.errors import literal

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

# As IoT Hub has them; edgeHub takes over the payload's limit.
MAX_NAME_CHARS = 100
MAX_PAYLOAD_BYTES = 131_072
MAX_DEPTH = 100  # levels: far from where json and repr give up, which depends on how deep their caller is
MIN_RESPONSE_TIMEOUT_S, MAX_RESPONSE_TIMEOUT_S, DEFAULT_RESPONSE_TIMEOUT_S = 5.0, 300.0, 30.0
MAX_CONNECT_TIMEOUT_S = 300.0

NAME_RULE = f"1 to {MAX_NAME_CHARS} printable ASCII characters without space, /, + and #"
AGENT = "$edgeAgent"  # the supervisor as a module identity, under the name that IoT Edge gives it

OK, BAD_REQUEST, FORBIDDEN, NOT_FOUND, BUSY, FAILED, NO_ANSWER = 200, 400, 403, 404, 429, 500, 504

_NAME = re.compile(rf"[!-~]{{1,{MAX_NAME_CHARS}}}")
_MAX_STATUS = 2**31 - 1
_TOO_DEEP = f"payload is nested too deeply: expected at most {MAX_DEPTH} levels"


class MethodResponse:
    """The answer of a method: `status` (200 means done, as in HTTP) and `payload`, a JSON value."""

    __slots__ = ("payload", "status")

    def __init__(self, status: int, payload: Any = None) -> None:
        """Check the status and store both.

        Raises:
            ValueError: the status is no whole number of 32 bits.
        """
        if type(status) is not int or abs(status) > _MAX_STATUS:
            raise ValueError(f"status = {status!r}: expected a whole number, such as 200")
        self.status = status
        self.payload = payload

    @property
    def is_ok(self) -> bool:
        """True for 200 to 299."""
        return 200 <= self.status < 300

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MethodResponse):
            return NotImplemented
        return self.status == other.status and bool(self.payload == other.payload)

    __hash__ = None  # type: ignore[assignment]  # a payload may be a dict

    def __repr__(self) -> str:
        return f"MethodResponse({self.status}, {self.payload!r})"


def refusal(status: int, text: str) -> MethodResponse:
    """Return an answer that carries a sentence instead of a result."""
    return MethodResponse(status, {"message": text})


def is_method_name(text: object) -> bool:
    """True for a name that a method may have: it is one level of an MQTT topic, too."""
    return isinstance(text, str) and _NAME.fullmatch(text) is not None and not set("/+#") & set(text)


def encode_payload(value: object) -> bytes:
    """Return a JSON value as bytes.

    Raises:
        TypeError: it holds something that JSON cannot express.
        ValueError: a number is not finite, it is nested deeper than 100 levels, or it exceeds 128 KiB.
    """
    try:
        raw = json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    check_size(raw)
    _check_depth(raw, value)
    return raw


def decode_payload(raw: bytes) -> Any:
    """Return the JSON value that `raw` encodes; None for no bytes at all.

    Raises:
        ValueError: it is not JSON, exceeds 128 KiB, or is nested deeper than 100 levels; the text says which.
    """
    check_size(raw)
    if not raw:
        return None
    try:
        value = json.loads(raw, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise ValueError(_TOO_DEEP) from error
    except ValueError as error:
        raise ValueError(f"payload is not JSON: {error}") from error
    _check_depth(raw, value)
    return value


def check_size(raw: bytes) -> None:
    """Accept a payload that is not too large.

    Raises:
        ValueError: it exceeds 128 KiB.
    """
    if len(raw) > MAX_PAYLOAD_BYTES:
        raise ValueError(f"payload of bytes={len(raw)}: expected at most {MAX_PAYLOAD_BYTES}")


def check_timeouts(response_timeout_s: object, connect_timeout_s: object) -> None:
    """Accept both times in seconds: 5 to 300 for the answer, 0 to 300 for the module to be there.

    Raises:
        ValueError: one is no number, or out of its range.
    """
    for name, value, low, high in (
        ("response timeout", response_timeout_s, MIN_RESPONSE_TIMEOUT_S, MAX_RESPONSE_TIMEOUT_S),
        ("connect timeout", connect_timeout_s, 0.0, MAX_CONNECT_TIMEOUT_S),
    ):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
            raise ValueError(f"{name} = {literal(value)}: expected {low:g} to {high:g} seconds")


def _check_depth(raw: bytes, value: object) -> None:
    if raw.count(b"[") + raw.count(b"{") <= MAX_DEPTH:  # nearly always
        return
    level, depth = [value], 0
    while level:
        if depth > MAX_DEPTH:
            raise ValueError(_TOO_DEEP)
        depth += 1
        level = [item for outer in level for item in _members(outer)]


def _members(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, (list, tuple)) else ()


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")

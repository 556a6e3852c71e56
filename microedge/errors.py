"""The error tree: split by what the caller does next, not by where it happened.

Facts are attributes; the sentence says where, what was found, what was expected and what to do.
"""

from __future__ import annotations

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    from collections.abc import Callable

_SHOWN_CHARS = 200  # enough to recognise a value, too little to flood a terminal


def printable(value: object, max_chars: int = _SHOWN_CHARS) -> str:
    """Return `value` as one line that is safe in a log or on a terminal.

    Control characters become visible escapes; whatever exceeds `max_chars` is cut and marked.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        text = bytes(value[: max_chars + 1]).decode("utf-8", "backslashreplace")
    else:
        text = _said(str, value)
    if not text.isprintable():
        cut = text[: max_chars + 1]
        text = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)
    return text if len(text) <= max_chars else text[:max_chars] + "…"


def literal(value: object, max_chars: int = _SHOWN_CHARS) -> str:
    """Return `value` as `printable` does, but as Python writes it: a text in quotes."""
    return printable(_said(repr, value), max_chars)


def _said(say: Callable[[object], str], value: object) -> str:
    # JSON may be nested as deeply as its parser can follow, which is deeper than str() and repr() can.
    try:
        return say(value)
    except RecursionError:
        return "(nested too deeply)"


class MicroedgeError(Exception):
    """Base of everything that microedge raises on purpose; `exit_code` is what the CLI returns for it."""

    exit_code = 1


class ConfigError(MicroedgeError):
    """A file that the operator wrote is wrong. The message says where and what to write."""

    exit_code = 78  # EX_CONFIG of sysexits.h: do not restart, a person must edit

    def __init__(self, file: str, line: int, key: str, got: object, expected: str, hint: str = "") -> None:
        self.file, self.line, self.key = file, line, key
        self.got, self.expected, self.hint = got, expected, hint
        where = f"{file}:{line}" if line else file
        found = f"{key} = {literal(got)}" if key else f"found {literal(got)}"
        tail = f"; {hint}" if hint else ""
        super().__init__(f"{where}: {found}: expected {expected}{tail}")


class RouteSyntaxError(MicroedgeError):
    """A route's text does not follow the grammar; `column` counts from 1."""

    exit_code = 78

    def __init__(self, name: str, text: str, column: int, expected: str) -> None:
        self.name, self.text, self.column, self.expected = name, text, column, expected
        found = printable(text[column - 1 :].split(" ")[0], 40) or "the end"
        super().__init__(f"route {name}: column {column}: expected {expected}, found {found!r}")

    def caret(self) -> str:
        """Return the route's text with a caret line under the column, for a terminal."""
        return f"{self.text}\n{' ' * (self.column - 1)}^ expected {self.expected}"


class ModuleImageError(MicroedgeError):
    """A module directory cannot be used; `reason` says which key, what was found and what was expected."""

    exit_code = 78

    def __init__(self, file: str, reason: str, line: int = 0) -> None:
        self.file, self.reason, self.line = file, reason, line
        super().__init__(f"{file}:{line}: {reason}" if line else f"{file}: {reason}")


class IdentityError(MicroedgeError):
    """An identity cannot be used, made or changed; `subject` is its file or its name."""

    def __init__(self, subject: str, reason: str) -> None:
        self.subject, self.reason = subject, reason
        super().__init__(f"{subject}: {reason}")


class TwinError(MicroedgeError):
    """A change of a twin is refused as a whole; `path` says where in the twin document, "" for the file itself.

    `line` counts from 1 where the change came as a text that a person wrote, and is 0 otherwise.
    """

    def __init__(self, path: str, got: object, expected: str, *, line: int = 0, hint: str = "") -> None:
        self.path, self.got, self.expected = path, got, expected
        self.line, self.hint = line, hint
        where = f"line {line}: " if line else ""
        found = f"{printable(path)} = {literal(got)}" if path else f"found {literal(got)}"
        tail = f"; {hint}" if hint else ""
        super().__init__(f"{where}{found}: expected {expected}{tail}")


class QueueError(MicroedgeError):
    """The store-and-forward queue could not do what was asked."""


class QueueFull(QueueError):  # noqa: N818 (the name is a contract)
    """The budget is spent and nothing of lower priority can be evicted. Nothing was stored."""

    def __init__(self, used_bytes: int, limit_bytes: int) -> None:
        self.used_bytes, self.limit_bytes = used_bytes, limit_bytes
        super().__init__(f"queue is full: used_bytes={used_bytes} limit_bytes={limit_bytes}; raise [store] max_mib")


class QueueDamaged(QueueError):  # noqa: N818 (the name is a contract)
    """The database cannot be used; it was set aside as `moved_to` ("" if it was left where it is)."""

    def __init__(self, file: str, reason: str, moved_to: str = "") -> None:
        self.file, self.reason, self.moved_to = file, reason, moved_to
        done = (
            f"set aside as {moved_to}" if moved_to else "left untouched; move it away or choose another state directory"
        )
        super().__init__(f"{file}: {reason}: {done}")


class UpstreamError(MicroedgeError):
    """The upstream did not take something."""


class UpstreamUnavailable(UpstreamError):  # noqa: N818 (the name is a contract)
    """Transient: keep the messages and try again later."""


class UpstreamRefused(UpstreamError):  # noqa: N818 (the name is a contract)
    """Permanent: this message will never be taken; set it aside."""


class ProtocolError(MicroedgeError):
    """Somebody broke the rules of the wire between a module and the hub."""


class LocalProtocolError(ProtocolError):
    """This side misused the protocol: a bug in the caller."""


class RemoteProtocolError(ProtocolError):
    """The other side broke the protocol: close the connection."""


class NotRunningError(MicroedgeError):
    """No supervisor answers for this configuration."""

    exit_code = 3

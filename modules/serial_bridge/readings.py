"""From lines to message bodies, and a count of what was refused and why. Pure, but for the clock that is passed in."""

from __future__ import annotations

from microedge.serial.errors import CHECK, FORMAT, IMPLAUSIBLE, DecodeError, printable
from microedge.serial.fields import apply_rules

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .settings import Settings  # noqa: TID252 (works under whatever name the runner loads this package)

_REPORT_S = 30.0  # a line of noise per second must not become a line of log per second
_SHOWN_CHARS = 80


class ReadingMaker:
    """Checks and decodes lines. What it yields is right, or it yields nothing.

    A JSON line that no setting changes goes on as the bytes that came: encoding it again would cost four times the
    decoding.
    """

    def __init__(self, settings: Settings, wall_ms: Callable[[], int]) -> None:
        self._check = settings.line_check()
        self._decode = settings.decoder().decode
        self._rules = settings.rules()
        self._timestamp_field = settings.timestamp_field
        self._wall_ms = wall_ms
        self._is_verbatim = settings.decode == "json" and not (
            self._timestamp_field or any(rule.is_transform for rule in self._rules)
        )
        self.lines = self.readings = 0
        self.refused = {CHECK: 0, FORMAT: 0, IMPLAUSIBLE: 0}
        self.last_refused = ""
        self._may_be_fragment = False

    def bodies(self, lines: list[bytes]) -> Iterator[bytes | dict[str, object]]:
        """Yield the body of each reading: bytes are a JSON object already. Never raises."""
        for raw in lines:
            line = raw.strip()
            if not line:
                continue
            self.lines += 1
            try:
                payload = self._check.strip(line).strip()
                reading = self._decode(payload)
                if self._rules:
                    apply_rules(reading, self._rules)
            except DecodeError as error:
                if self._may_be_fragment and error.kind != IMPLAUSIBLE:
                    self._may_be_fragment = False
                    continue  # the rest of a line that began before the port was open: nobody's mistake
                self.refused[error.kind] += 1
                self.last_refused = f"{printable(line, _SHOWN_CHARS)!r}: {error}"
                continue
            self._may_be_fragment = False
            if not reading:
                continue  # a header row
            self.readings += 1
            if self._timestamp_field:
                reading[self._timestamp_field] = self._wall_ms()
            yield payload if self._is_verbatim else reading

    def reset(self, *, may_be_fragment: bool = False) -> None:
        """Another device may be at the other end now. `may_be_fragment`: the next line may be the rest of one."""
        self._check.reset()
        self._may_be_fragment = may_be_fragment


class RefusalReport:
    """Turns many refused lines into few log lines: the first at once, then totals at most every 30 s."""

    def __init__(self) -> None:
        self._reported = 0
        self._due_s = 0.0

    def take(self, maker: ReadingMaker, now_s: float) -> str:
        """Return what to log now, "" for nothing."""
        total = sum(maker.refused.values())
        if total == self._reported or now_s < self._due_s:
            return ""
        news, self._reported, self._due_s = total - self._reported, total, now_s + _REPORT_S
        counts = " ".join(f"bad_{kind}={count}" for kind, count in maker.refused.items() if count)
        return (
            f"refused lines={news} since the last report ({counts} of lines={maker.lines}); last {maker.last_refused}"
        )

"""One port, its life and its readings: open, read, lose, wait, open again.

States: missing (not there), denied, busy, invalid (see PortError), reading, stale (open, but no good reading for
stale_s), lost (gone since the last look). A change of state is one log line, a repetition none. Nothing here waits
for the device: while the port is away, the kernel's announcements and a look every reopen_max_s bring it back.
"""

from __future__ import annotations

import math
import time

from microedge.sdk.settings import follow_settings
from microedge.serial.errors import BUSY, DENIED, INVALID, LOST, MISSING, PortError, PortLost
from microedge.serial.hotplug import PortEvents
from microedge.serial.identity import find_port
from microedge.serial.port import LineSettings, SerialPort

from .readings import ReadingMaker, RefusalReport  # noqa: TID252 (works under whatever name the runner loads it)
from .settings import WRITE_EOLS, Settings  # noqa: TID252

TYPE_CHECKING = False
if TYPE_CHECKING:
    from microedge import Message, ModuleClient

_READING, _STALE = "reading", "stale"
_JSON = "application/json"
_LOOK_S = 1.0  # between looks at the clock while all is well: how late stale, status and the first retry may be
_FIRST_RETRY_S = 0.25
_RETRY_S = {BUSY: 5.0, INVALID: 5.0}
_REPORT_S = 5.0  # between reports; each is answered by the hub before the next line is read
_CHUNKS_PER_TURN = 16  # then the hub gets its turn, however fast the device talks
_FULL_CHUNK_BYTES = 2_048  # the kernel hands out at most 4095 at once; less than half means that nothing is left


class Bridge:
    """Joins one serial port to one client. Single-threaded; `run` is all there is to call."""

    def __init__(self, client: ModuleClient, settings: Settings) -> None:
        self._client = client
        self._log = client.log
        self._events = PortEvents()
        self._port: SerialPort | None = None
        self._state = MISSING
        self._last_failure = ""
        self._reported_failure = ""
        self._was_open = False
        self._last_wake_s = self._last_reading_s = -math.inf
        self._next_open_s = self._retry_s = 0.0
        self._opens = self._bytes = self._lost_bytes = 0
        self._sent_status: dict[str, object] = {}
        self._reported_port: dict[str, object] = {}
        self._report_due_s = 0.0
        self._status_due_s = 0.0
        self._use(settings)

    def run(self) -> None:
        """Bridge until the client is asked to stop. The port is closed afterwards, whatever happened.

        Raises:
            HubGoneError: the supervisor is gone.
        """
        if self._events.open():
            self._client.watch(self._events.fileno(), self._on_event)
        try:
            follow_settings(self._client, Settings, self._change)
            self._client.on_input("write", self._on_write)
            self._tick()
            self._client.ready()
            while self._client.wait(self._pause_s()):
                self._tick()
            self._send_status(time.monotonic(), is_last=True)
        finally:
            self._close()
            self._events.close()

    # --- Settings ---

    def _use(self, settings: Settings) -> None:
        self._settings = settings
        self._framer = settings.framer()
        self._maker = ReadingMaker(settings, lambda: int(time.time() * 1000))
        self._report = RefusalReport()
        self._units = settings.units() or None
        self._coalesce_s = settings.coalesce_ms / 1000

    def _change(self, settings: Settings) -> None:
        """Take new settings. What concerns the line itself closes the port and opens it again; the rest does not."""
        before = self._settings
        if vars(settings) == vars(before):
            return
        self._report_due_s = 0.0
        self._use(settings)
        if settings.line == before.line:
            self._begin_anew()
            self._log.info("settings changed; port %s is left as it is", settings.port)
            return
        self._close()
        self._was_open = False
        self._next_open_s = self._retry_s = 0.0
        self._log.info("settings changed; opening %s", settings.port)

    # --- Opening ---

    def _tick(self) -> None:
        """Do what is due."""
        now_s = time.monotonic()
        if self._port is None and now_s >= self._next_open_s:
            self._try_open(now_s)
        elif self._state == _READING and 0 < self._settings.stale_s <= now_s - self._last_reading_s:
            self._become_stale()
        self._log_refusals(now_s)
        self._send_status(now_s)
        self._report_port(now_s)

    def _pause_s(self) -> float:
        if self._port is not None:
            return _LOOK_S
        return min(max(self._next_open_s - time.monotonic(), 0.01), _LOOK_S)

    def _on_event(self) -> None:
        """A serial port has come or gone. A going one is seen by its own descriptor, so only a coming one matters."""
        if self._events.take() and self._port is None:
            self._retry_s = 0.0
            self._try_open(time.monotonic())

    def _try_open(self, now_s: float) -> None:
        settings = self._settings
        line = LineSettings(
            settings.baud, bytesize=settings.bytesize, parity=settings.parity, stopbits=settings.stopbits
        )
        try:
            port = SerialPort(find_port(settings.port), line)
            port.open()
        except PortError as error:
            self._note_failure(error, now_s)
            return
        self._port = port
        self._opens += 1
        self._begin_anew()
        self._last_reading_s = time.monotonic()
        self._retry_s = 0.0
        self._last_failure = self._reported_failure = ""
        words = "back" if self._was_open else "open"
        self._was_open = True
        self._state = _READING
        self._log.info("port %s is %s: device=%s baud=%d", settings.port, words, port.path, settings.baud)
        self._client.watch(port.fileno(), self._on_readable)

    def _note_failure(self, error: PortError, now_s: float) -> None:
        """Log a failure that is news, and set the time of the next attempt."""
        self._retry_s = min(max(2 * self._retry_s, _FIRST_RETRY_S), self._settings.reopen_max_s)
        delay_s = _RETRY_S.get(error.kind, self._retry_s)
        self._next_open_s = now_s + delay_s
        # udev sets the permissions a moment after the node has appeared: "denied" counts from the second time on
        is_sure = error.kind != DENIED or self._last_failure == DENIED
        self._last_failure = error.kind
        if not is_sure or error.kind == self._reported_failure:
            return
        self._reported_failure = error.kind
        if error.kind == MISSING and self._state == LOST:
            return  # it was lost, and said so
        self._state = error.kind
        write = self._log.warning if error.kind == MISSING else self._log.error
        write("port %s; trying again every %.3g s", error, max(delay_s, self._settings.reopen_max_s))

    # --- Reading ---

    def _on_readable(self) -> None:
        """Read what is there. A device that wakes us often is given a pause, so that fewer wake-ups bring more each."""
        if time.monotonic() - self._last_wake_s < self._coalesce_s:
            time.sleep(self._coalesce_s)
        try:
            for _ in range(_CHUNKS_PER_TURN):
                if self._port is None or not self._take_chunk(self._port):
                    break
        except PortLost as error:
            self._lose(error)
        self._last_wake_s = time.monotonic()

    def _take_chunk(self, port: SerialPort) -> bool:
        """Read once and send what it completes; return False when nothing is left."""
        data = port.read()
        if not data:
            return False
        lost_bytes = port.discard_if_overrun()
        if lost_bytes:
            self._lost_bytes += lost_bytes
            self._begin_anew()
            return False
        self._bytes += len(data)
        lines = self._framer.feed(data)
        if lines:
            self._send(lines)
        return len(data) >= _FULL_CHUNK_BYTES

    def _begin_anew(self) -> None:
        """What comes next may begin in the middle of a line."""
        knows_fragments = self._settings.knows_fragments
        self._framer.reset(is_synced=knows_fragments)
        self._maker.reset(may_be_fragment=knows_fragments)

    def _send(self, lines: list[bytes]) -> None:
        before = self._maker.readings
        send, units = self._client.send, self._units
        for body in self._maker.bodies(lines):
            send("readings", body, properties=units, content_type=_JSON)
        if self._maker.readings == before:
            return
        self._last_reading_s = time.monotonic()
        if self._state == _STALE:
            self._state = _READING
            self._log.info("port %s: readings again", self._settings.port)

    def _lose(self, error: PortLost) -> None:
        self._close()
        self._state = LOST
        self._next_open_s = time.monotonic() + _FIRST_RETRY_S
        self._log.warning("port %s; waiting for it to come back", error)

    def _close(self) -> None:
        """Close at once, so that the device gets its old name when it comes back."""
        if self._port is None:
            return
        self._client.watch(self._port.fileno(), None)
        self._port.close()
        self._port = None
        self._framer.reset()

    # --- Writing ---

    def _on_write(self, message: Message) -> None:
        """Write one message and an end of line to the device; an error makes the hub deliver it again."""
        if self._port is None:
            raise PortError(self._state, self._settings.port, "not open, nothing was written")
        body = message.body
        if message.content_type == _JSON and body[:1] == b'"':
            body = str(message.json()).encode()  # a JSON string means its text, anything else its JSON
        end = WRITE_EOLS[self._settings.write_eol]
        try:
            self._port.write(body if end and body.endswith(end) else body + end)
        except PortLost as error:
            self._lose(error)
            raise

    # --- Telling ---

    def _become_stale(self) -> None:
        self._state = _STALE
        cure = (
            "bytes arrive but no good line: check baud, eol and decode" if self._bytes else "check the device's power"
        )
        self._log.warning("port %s: no reading for stale_s=%g; %s", self._settings.port, self._settings.stale_s, cure)

    def _log_refusals(self, now_s: float) -> None:
        text = self._report.take(self._maker, now_s)
        if text:
            self._log.warning("port %s: %s", self._settings.port, text)

    def _send_status(self, now_s: float, *, is_last: bool = False) -> None:
        """Send the counters when they have changed, at most once per status_interval_s and when stopping."""
        if now_s < self._status_due_s and not is_last:
            return
        status = self._status()
        if status == self._sent_status:
            return
        self._sent_status = status
        self._status_due_s = now_s + self._settings.status_interval_s
        self._client.send("status", status)

    def _report_port(self, now_s: float) -> None:
        """Report what the port is doing when that has changed, at most every _REPORT_S: a loose plug is no news."""
        port: dict[str, object] = {
            "state": self._state,
            "path": self._port.path if self._port else None,
            "baud": self._settings.baud,
            "connected": self._port is not None,
            "reconnects": max(0, self._opens - 1),
        }
        if port == self._reported_port or now_s < self._report_due_s:
            return
        self._reported_port, self._report_due_s = port, now_s + _REPORT_S
        self._client.report({"port": port})

    def _status(self) -> dict[str, object]:
        framer, maker = self._framer, self._maker
        return {
            "state": self._state,
            "port": self._settings.port,
            "device": self._port.path if self._port else "",
            "bytes": self._bytes,
            "lines": maker.lines,
            "readings": maker.readings,
            **{f"bad_{kind}": count for kind, count in maker.refused.items()},
            "too_long": framer.too_long,
            "discarded_bytes": framer.discarded_bytes,
            "lost_bytes": self._lost_bytes,
            "reopened": max(0, self._opens - 1),
        }

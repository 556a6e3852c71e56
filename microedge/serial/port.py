"""One open serial port: exclusive, raw, non-blocking. pyserial opens and configures it, the rest is os.read on its fd.

(pyserial's own read_until takes one system call per byte: 175 us of CPU for a 32-byte frame against 2.5 us here.)

What the port does for the promise that a wrong reading is never delivered: nobody else may have it open, as two
readers get half of the bytes each; a byte that arrived with a parity or framing error becomes a NUL, which no decoder
takes; and lost bytes are counted where the driver knows of them.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import select
import struct
import termios
import time

from microedge.serial.errors import BUSY, DENIED, INVALID, MISSING, STALLED, PortError, PortLost
from microedge.serial.identity import holders

TYPE_CHECKING = False  # what typing.TYPE_CHECKING is, without loading typing (0.6 MiB resident)
if TYPE_CHECKING:
    import serial

_READ_BYTES = 65_536
_TIOCGICOUNT = 0x545D  # asm-generic/ioctls.h; mips and sparc differ, and answer ENOTTY as every pty does
_COUNTERS = struct.Struct("11i")  # cts dsr rng dcd rx tx frame overrun parity brk buf_overrun; 9 reserved follow
_OVERRUN, _BUFFER_OVERRUN = 7, 10

_KINDS = {
    errno.ENOENT: MISSING,
    errno.ENXIO: MISSING,
    errno.ENODEV: MISSING,
    errno.EIO: MISSING,  # a dying device: its node is still there
    errno.EACCES: DENIED,
    errno.EPERM: DENIED,
    errno.EBUSY: BUSY,
    errno.EAGAIN: BUSY,  # flock
}
_WORDS = {
    MISSING: "no such port now",
    DENIED: "permission denied; add the user to the group of the device (group dialout: usermod -aG dialout USER)",
}


class LineSettings:
    """How the bits travel. `parity` is "none", "even" or "odd"."""

    __slots__ = ("baud", "bytesize", "parity", "stopbits")

    def __init__(self, baud: int = 9600, *, bytesize: int = 8, parity: str = "none", stopbits: int = 1) -> None:
        self.baud, self.bytesize, self.parity, self.stopbits = baud, bytesize, parity, stopbits


class SerialPort:
    """An open device, or one that can be opened. Not thread-safe."""

    def __init__(self, path: str, line: LineSettings) -> None:
        self.path = path
        self._line = line
        self._serial: serial.Serial | None = None
        self._fd = -1
        self._lost_bytes: int | None = None  # as the driver counted them; None: it does not count

    def open(self) -> None:
        """Open and configure the port, exclusively; what arrived before is thrown away.

        DTR is asserted, as every open does, which restarts most Arduinos; it is not dropped at close, so that only the
        first open after plugging in does that. Blocks for some milliseconds.

        Raises:
            PortError: missing, denied, busy (the text says who has it) or invalid.
        """
        import serial

        try:
            self._serial = serial.Serial(
                self.path,
                self._line.baud,
                bytesize=self._line.bytesize,
                parity=self._line.parity[:1].upper(),
                stopbits=self._line.stopbits,
                exclusive=True,
            )
            self._fd = self._serial.fileno()
            self._configure()
        except (OSError, termios.error, ValueError, OverflowError) as error:  # SerialException is an OSError
            self.close()
            raise self._open_error(error) from error
        others = holders(self.path)
        if others:  # opened it before us, and asked for no lock
            self.close()
            raise self._busy_error(others)
        self._lost_bytes = self._count_lost_bytes()

    def fileno(self) -> int:
        """The descriptor to wait for, -1 while closed."""
        return self._fd

    def read(self) -> bytes:
        """Return what has arrived, b"" if nothing has. Never blocks.

        Raises:
            PortLost: the device is gone.
        """
        try:
            data = os.read(self._fd, _READ_BYTES)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise PortLost(self.path, f"lost: {error.strerror}") from error
        if not data:
            raise PortLost(self.path, "lost: the device hung up")
        return data

    def write(self, data: bytes, *, timeout_s: float = 2.0) -> None:
        """Hand all of `data` to the driver; blocks while its buffer is full, at most `timeout_s`.

        Raises:
            PortError: stalled when the time is up; a part may be on its way.
            PortLost: the device is gone.
        """
        deadline_s = time.monotonic() + timeout_s
        while data:
            try:
                data = data[os.write(self._fd, data) :]
            except BlockingIOError:
                self._wait_for_room(deadline_s)
            except OSError as error:
                raise PortLost(self.path, f"lost: {error.strerror}") from error

    def discard_if_overrun(self) -> int:
        """Return how many bytes the driver has lost since the last call (0 where it cannot tell).

        If it lost any, all that is waiting is thrown away too: a gap is somewhere in it, and in what was just read.
        """
        before, now = self._lost_bytes, self._count_lost_bytes()
        if before is None or now is None or now == before:
            return 0
        self._lost_bytes = now
        with contextlib.suppress(termios.error):  # it is gone; the next read says so
            termios.tcflush(self._fd, termios.TCIFLUSH)
        return now - before

    def close(self) -> None:
        """Close the port; harmless when it is closed, and never fails."""
        if self._serial is not None:
            self._serial.close()
            self._serial = None
        self._fd = -1

    def _configure(self) -> None:
        attributes = termios.tcgetattr(self._fd)
        attributes[0] |= termios.INPCK  # a byte with a parity or framing error arrives as NUL
        attributes[2] &= ~termios.HUPCL
        attributes[6][termios.VMIN] = 1  # else b"" would mean "nothing yet" as well as "gone"
        termios.tcsetattr(self._fd, termios.TCSANOW, attributes)
        fcntl.ioctl(self._fd, termios.TIOCEXCL)  # keeps out those who do not ask for the lock; root walks past it

    def _wait_for_room(self, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        poll = select.poll()
        poll.register(self._fd, select.POLLOUT)
        if left_s <= 0 or not poll.poll(left_s * 1000):
            raise PortError(STALLED, self.path, "takes no bytes; is flow control on, or is the device stuck?")

    def _count_lost_bytes(self) -> int | None:
        try:
            counters = fcntl.ioctl(self._fd, _TIOCGICOUNT, bytes(80))
        except OSError:
            return None
        return lost_bytes(counters)

    def _open_error(self, error: Exception) -> PortError:
        kind = _KINDS.get(_error_number(error), INVALID)
        if kind == INVALID and not os.path.exists(self.path):
            kind = MISSING
        if kind == BUSY:
            return self._busy_error(holders(self.path))
        reason = f"cannot be used with baud={self._line.baud} bytesize={self._line.bytesize}: {error}"
        return PortError(kind, self.path, _WORDS.get(kind, reason))

    def _busy_error(self, others: list[tuple[int, str]]) -> PortError:
        names = ", ".join(f"{name} (pid {pid})" for pid, name in others)
        who = names or f"another process that this user may not see (sudo fuser -v {self.path} names it)"
        return PortError(BUSY, self.path, f"in use by {who}; stop it, or give it another port")


def _error_number(error: BaseException | None) -> int:
    """Return the errno of whatever pyserial raised, or of what made it do so; 0 if there is none."""
    while error is not None:
        if isinstance(error, (OSError, termios.error)) and error.args and isinstance(error.args[0], int):
            return error.args[0]
        error = error.__context__
    return 0


def lost_bytes(counters: bytes) -> int:
    """Return the bytes that hardware and driver lost, from what TIOCGICOUNT answers."""
    values = _COUNTERS.unpack_from(counters)
    return int(values[_OVERRUN]) + int(values[_BUFFER_OVERRUN])

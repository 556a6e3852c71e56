"""A thread that runs only while the test waits for it: one of the two, never both.

The test hands over by `run`; the thread hands back by `park`, which is what every wait of module code comes down to.
So nothing in a test happens at the same time, and nothing waits for real.
"""

from __future__ import annotations

import math
import os
import sys
import threading
import traceback
from collections.abc import Callable
from types import TracebackType

_LAST_TURNS = 10  # for a loop that tidies up, or a module that catches even what is to end it
_LAST_CHANCE_S = 0.2  # for one that hung, to come back by itself
_OURS = os.path.dirname(os.path.dirname(__file__))


class KilledError(BaseException):
    """Ends a strand that is not wanted any more, at its next wait. Not an Exception, so that few handlers catch it."""


class Strand:
    """Runs `target` by turns. Built without a thread; the first turn makes it."""

    def __init__(self, name: str, target: Callable[[], object], patience_s: float) -> None:
        """`patience_s` is how long, in real time, a turn may take."""
        self.name = name
        self.error: BaseException | None = None  # what ended the target
        self.failures: list[BaseException] = []  # what the SDK caught on it
        self.is_over = False
        self.wake_s = -math.inf  # when it wants to run again at the latest
        self.is_ready: Callable[[float], bool] = lambda timeout_s: False  # whether a descriptor of it is, or gets
        self.has_outside = False  # it watches descriptors of which the other end is not ours
        self._target = target
        self._patience_s = patience_s
        self._is_hung = self._is_killed = self._is_abandoned = False
        self._go, self._back = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._back.acquire()
        self._thread = threading.Thread(target=self._run, name=f"module {name}", daemon=True)

    def run(self) -> None:
        """Give it one turn: until it parks or ends.

        Raises:
            AssertionError: it did neither within the patience; says where it is.
        """
        if self._thread.ident is None:
            self._thread.start()
        self._go.release()
        if not self._back.acquire(timeout=self._patience_s):
            self._is_hung, self.wake_s = True, math.inf
            raise AssertionError(
                f"module {self.name} hangs: for patience_s={self._patience_s:g} of real time it has neither waited nor "
                f"ended; it is at\n{self.stack()}"
            )
        if self.is_over:
            self._thread.join()

    def park(self, wake_s: float, is_ready: Callable[[float], bool], *, has_outside: bool = False) -> None:
        """Called by the strand: give the turn back until `wake_s`, or until `is_ready`.

        Raises:
            KilledError: nobody wants it to go on.
        """
        if self._is_abandoned:
            raise KilledError
        self.wake_s, self.is_ready, self.has_outside = wake_s, is_ready, has_outside
        self._back.release()
        self._go.acquire()
        if self._is_killed:
            raise KilledError

    def kill(self) -> None:
        """End it at its wait. One that hangs is left behind as a daemon thread, until it waits again."""
        self._is_killed = True
        if self._thread.ident is None:
            return
        if self._is_hung and not self._back.acquire(timeout=_LAST_CHANCE_S):
            self._is_abandoned = True
            self._go.release()
            return
        for _ in range(_LAST_TURNS):
            if not self.is_over:
                self.run()

    def stack(self) -> str:
        """Return where it is now, as in a traceback; frames of the SDK are left out."""
        frame = sys._current_frames().get(self._thread.ident or 0)
        frames = traceback.extract_stack(frame) if frame is not None else []
        theirs = [each for each in frames if not each.filename.startswith((_OURS, threading.__file__))]
        return "".join(traceback.format_list(theirs)) or "  (it is not in code of its own)\n"

    def _run(self) -> None:
        self._go.acquire()
        with _Kept(self):
            self._target()
        self.is_over, self.wake_s = True, math.inf
        self._back.release()


class _Kept:
    """Keeps what ends a strand for whoever asks: nothing may leave a thread, where nobody would see it."""

    def __init__(self, strand: Strand) -> None:
        self._strand = strand

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: TracebackType | None) -> bool:
        self._strand.error = error
        return True

"""Writes log lines in a thread of its own, so that no event loop waits for a disk or a pipe."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

Form = Literal["console", "json"]

MOST_WAITING: Final = 10_000
_COLLECT_SECONDS: Final = 0.02
_WRITTEN_TOGETHER: Final = 500


class Line(Protocol):
    """A line that is made when it is written."""

    def text(self, form: Form) -> bytes:
        """It, with its end."""


class Place(Protocol):
    """Where lines go."""

    @property
    def form(self) -> Form:
        """How they look there."""

    def write(self, data: bytes) -> None:
        """Writes whole lines; may take as long as it likes, and never raises."""


TellDropped = Callable[[int], Line]


class LogWriter:
    """Takes lines from any thread and writes them soon, in their order.

    The first line wakes the thread, which then waits a moment for more: to wake it for each would
    cost the event loop more than the line does. When 10,000 wait, further ones are dropped and
    counted.

    Args:
        places: Where each line goes.
        tell: Makes the line that says how many were dropped.
        most: How many may wait.
    """

    def __init__(
        self, places: Sequence[Place], tell: TellDropped, *, most: int = MOST_WAITING
    ) -> None:
        self._places = tuple(places)
        self._tell = tell
        self._most = most
        self._waiting = deque[Line | threading.Event]()
        self._dropped = 0
        self._awake = False
        self._wake = threading.Event()
        self._hurry = threading.Event()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def put(self, line: Line) -> None:
        """Has a line written soon."""
        if len(self._waiting) >= self._most:
            self._dropped += 1
            return
        self._waiting.append(line)
        if not self._awake:
            self._awake = True
            if self._thread is None:
                self._start()
            self._wake.set()

    def hurry(self) -> None:
        """Has all lines written at once: the process may be about to end."""
        self._hurry.set()

    def flush(self, seconds: float) -> bool:
        """Waits until all that was put before is written; whether that came in time."""
        if self._thread is None or not self._thread.is_alive():
            return not self._waiting
        written = threading.Event()
        self._waiting.append(written)
        self._hurry.set()
        self._wake.set()
        return written.wait(seconds)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                # It must not keep a process alive whose log nobody takes.
                self._thread = threading.Thread(target=self._run, name="log-writer", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while True:
            self._wake.wait()
            self._hurry.wait(_COLLECT_SECONDS)
            self._hurry.clear()
            self._wake.clear()
            # Before it looks: whoever puts a line afterwards wakes it again.
            self._awake = False
            while self._waiting:
                self._write_some()

    def _write_some(self) -> None:
        lines: list[Line] = []
        written: list[threading.Event] = []
        while self._waiting and len(lines) < _WRITTEN_TOGETHER:
            each = self._waiting.popleft()
            if isinstance(each, threading.Event):
                written.append(each)
                break
            lines.append(each)
        dropped, self._dropped = self._dropped, 0
        if dropped:
            lines.append(self._tell(dropped))
        for place in self._places:
            place.write(b"".join(each.text(place.form) for each in lines))
        for each in written:
            each.set()

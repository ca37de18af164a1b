"""Where log lines go: an open stream, and a file that is replaced when it has grown."""

from __future__ import annotations

import os
import select
from pathlib import Path
from typing import Final

from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.observe.log_writer import Form

_WAIT_SECONDS: Final = 1.0


class Stream:
    """A stream of the process, such as stderr.

    Written past Python's own buffer: the interpreter could not end while that waits for a reader.

    Args:
        descriptor: Of the stream.
        form: How lines look.
    """

    def __init__(self, descriptor: int, form: Form) -> None:
        self._descriptor = descriptor
        self.form: Form = form

    def write(self, data: bytes) -> None:
        """Writes lines; where nobody reads them any more, they are lost."""
        left = memoryview(data)
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:
                select.select([], [self._descriptor], [], _WAIT_SECONDS)
            except OSError:
                return


class RotatingFile:
    """A file; when it would grow beyond its bound, it becomes `NAME.1`, that `NAME.2`, and so on.

    Nobody but its owner may read it. What can't be written is lost, and tried again with the next
    lines.

    Args:
        path: Its name.
        max_bytes: How long it may become.
        kept: How many older ones are kept.

    Raises:
        ConfigError: It can't be opened.
    """

    form: Form = "json"

    def __init__(self, path: Path, *, max_bytes: int, kept: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._kept = kept
        try:
            self._open()
        except OSError as failure:
            raise ConfigError(f"log_file can't be opened: {failure.strerror}.") from None

    def write(self, data: bytes) -> None:
        """Writes lines."""
        if not data:
            return
        try:
            if self._size and self._size + len(data) > self._max_bytes:
                self._rotate()
            left = memoryview(data)
            while left:
                count = os.write(self._descriptor, left)
                self._size += count
                left = left[count:]
        except OSError:
            # A full disk, perhaps: the log is the last that could tell.
            return

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._size = os.fstat(self._descriptor).st_size

    def _rotate(self) -> None:
        for number in range(self._kept, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if self._kept == 0:
            os.ftruncate(self._descriptor, 0)
        before = self._descriptor
        self._open()
        os.close(before)

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")

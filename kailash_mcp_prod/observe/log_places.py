"""Where log lines go: an open stream, and a file that is replaced when it has grown."""

from __future__ import annotations

import os
import select
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Final

from kailash_mcp_prod.errors import ConfigError
from kailash_mcp_prod.observe.log_writer import Form

try:
    import fcntl as _fcntl
except ImportError:
    fcntl: ModuleType | None = None
else:
    fcntl = _fcntl

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

    Several processes may write to it: each locks it for as long as it writes or renames, so that
    no line is torn, and follows it when another one has renamed it. Nobody but its owner may read
    it. What can't be written is lost, and tried again with the next lines.

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
        # A full disk, perhaps: the log is the last that could tell.
        with suppress(OSError):
            while not self._written(data):
                self._reopen()

    def _written(self, data: bytes) -> bool:
        """Whether the lines are written, and not the file another one since, or by this."""
        _lock(self._descriptor)
        try:
            if not self._is_current():
                return False
            size = os.fstat(self._descriptor).st_size
            if size and size + len(data) > self._max_bytes:
                self._rotate()
                if self._kept:
                    return False
            left = memoryview(data)
            while left:
                left = left[os.write(self._descriptor, left) :]
            return True
        finally:
            _unlock(self._descriptor)

    def _is_current(self) -> bool:
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _reopen(self) -> None:
        before = self._descriptor
        self._open()
        os.close(before)

    def _open(self) -> None:
        self._descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def _rotate(self) -> None:
        for number in range(self._kept, 0, -1):
            older = self._numbered(number - 1)
            if older.exists():
                older.replace(self._numbered(number))
        if self._kept == 0:
            os.ftruncate(self._descriptor, 0)

    def _numbered(self, number: int) -> Path:
        return self._path if number == 0 else self._path.with_name(f"{self._path.name}.{number}")


def _lock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)


def _unlock(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_UN)

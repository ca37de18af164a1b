"""One SQLite connection with a thread of its own, to which work is handed over."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar
from urllib.parse import quote

from kailash_mcp_prod.records.sql.aggregate_functions import register_aggregates
from kailash_mcp_prod.records.sql.functions import register_functions
from kailash_mcp_prod.records.sql.sqlite_errors import is_busy

Result = TypeVar("Result")

BUSY_SECONDS = 5.0
_STATEMENTS_PREPARED = 512
_WAL_AGAIN_SECONDS = 0.05


class Lane:
    """A connection, opened by the first work that it is given.

    Args:
        path: The file, which must exist.
        name: Of the thread.
        reads_only: Whether the connection refuses to write.
    """

    def __init__(self, path: Path, name: str, *, reads_only: bool) -> None:
        self._path = path
        self._reads_only = reads_only
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        self._opened: tuple[int, int] | None = None

    async def run(
        self, work: Callable[[sqlite3.Connection], Result], *, anew: bool = True
    ) -> Result:
        """Runs a function on the thread and returns its result.

        Args:
            work: The function.
            anew: Whether the connection may be opened anew for it, which a transaction would not
                survive.

        Raises:
            sqlite3.Error: The connection can't be opened, or what the function raises.
        """
        if self._closed:
            closed = sqlite3.OperationalError("the database is closed")
            closed.sqlite_errorcode = sqlite3.SQLITE_CANTOPEN
            raise closed
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._do, work, anew)

    def interrupt(self) -> None:
        """Stops the statement that is running, if any."""
        if self._connection is not None:
            self._connection.interrupt()

    async def close(self) -> None:
        """Closes the connection and ends the thread; nothing runs on it any more."""
        if self._closed:
            return
        self._closed = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown(wait=True)

    def _do(self, work: Callable[[sqlite3.Connection], Result], anew: bool) -> Result:
        if anew and self._identity() != self._opened:
            # What is written into a file that was moved or replaced would be lost.
            self._close()
        if self._connection is None:
            if not anew:
                raise sqlite3.OperationalError("the connection is closed")
            self._opened = self._identity()
            self._connection = self._open()
        return work(self._connection)

    def _identity(self) -> tuple[int, int] | None:
        """Which file the path names now, if any."""
        try:
            found = self._path.stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            # A file that has vanished must not come back empty.
            f"file:{quote(str(self._path))}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=BUSY_SECONDS,
            cached_statements=_STATEMENTS_PREPARED,
            check_same_thread=False,
        )
        try:
            if self._reads_only:
                connection.execute("PRAGMA query_only = ON")
            else:
                _use_wal(connection)
                # An acknowledged write outlives the loss of power, not only of the process.
                connection.execute("PRAGMA synchronous = FULL")
                connection.execute("PRAGMA foreign_keys = ON")
            register_functions(connection)
            register_aggregates(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _use_wal(connection: sqlite3.Connection) -> None:
    """Lets the file be read while it is written; it stays so, for other processes too."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as failure:
            # For this lock SQLite itself does not wait.
            if not is_busy(failure) or time.monotonic() > until:
                raise
            time.sleep(_WAL_AGAIN_SECONDS)

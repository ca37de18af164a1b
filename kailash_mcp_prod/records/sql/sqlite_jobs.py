"""Statements on their way to a SQLite thread and back.

Many calls share few threads. A thread takes statements one after the other as long as there are
any, and the event loop is woken once for all that are done meanwhile: handing over costs more
than SQLite's answer.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from kailash_mcp_prod.records.sql.sqlite_errors import is_busy

Work = Callable[[sqlite3.Connection], Any]
"""What a thread does with its connection; a write of it is all or nothing."""


class Job:
    """Work on a connection and, in the end, what it gave or how it failed.

    Work of `several` statements has to be undone as a whole when one of them fails.
    """

    __slots__ = (
        "cancelled",
        "failure",
        "future",
        "given",
        "several",
        "skipped",
        "started",
        "work",
    )

    def __init__(self, work: Work, future: asyncio.Future[Any], *, several: bool = False) -> None:
        self.work = work
        self.future = future
        self.several = several
        self.given: Any = None
        self.failure: Exception | None = None
        self.started = False
        self.cancelled = False
        self.skipped = False

    def execute(self, connection: sqlite3.Connection, *, undoing: bool = False) -> None:
        """Does the work, on the thread of the connection.

        Args:
            connection: The connection.
            undoing: Whether several statements are undone here when one of them fails.
        """
        self.failure = None
        try:
            undo_here = undoing and self.several
            self.given = (_undone_by_itself if undo_here else _plainly)(self.work, connection)
        except Exception as failure:  # noqa: BLE001 - it belongs to the call, not to the thread
            self.failure = failure

    def settle(self) -> None:
        """Gives the outcome to the call, on the event loop."""
        if self.future.done():
            return
        if self.failure is None:
            self.future.set_result(self.given)
        else:
            self.future.set_exception(self.failure)


class Deliveries:
    """Brings finished jobs from the threads to the event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._finished: deque[Job] = deque()
        self._announced = False

    def add(self, job: Job) -> None:
        """Hands over a finished job; for threads."""
        self._finished.append(job)
        if not self._announced:
            self._announced = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        # Before the jobs are taken: one that comes later announces itself again.
        self._announced = False
        while self._finished:
            self._finished.popleft().settle()


def store_together(connection: sqlite3.Connection, jobs: Sequence[Job]) -> None:
    """Runs jobs that write in one transaction, on the thread of the connection.

    A job that fails has changed nothing, and the others are stored.
    """
    if not jobs or _settled(connection, jobs):
        return
    for position, job in enumerate(jobs):
        _settled(connection, [job])
        if is_busy(job.failure):
            # Each of the others would wait as long for the same lock.
            for other in jobs[position + 1 :]:
                other.failure = job.failure
            return


def _settled(connection: sqlite3.Connection, jobs: Sequence[Job]) -> bool:
    """Whether each job has its outcome; if not, nothing is stored, and each may be tried alone."""
    try:
        return _stored(connection, jobs)
    except Exception as failure:  # noqa: BLE001 - each call has to hear of it
        for job in jobs:
            job.failure = failure
        _undo(connection)
        return True


def _stored(connection: sqlite3.Connection, jobs: Sequence[Job]) -> bool:
    connection.execute("BEGIN IMMEDIATE")
    # What is alone is undone with the whole transaction, which costs less.
    shared = len(jobs) > 1
    for job in jobs:
        changes = connection.total_changes
        job.execute(connection, undoing=shared)
        if job.failure is None:
            continue
        undone = shared and job.several
        half_done = not undone and connection.total_changes != changes
        if half_done or not connection.in_transaction:
            # A trigger made SQLite keep half of a statement, or it gave up the whole transaction,
            # as it also does for a full disk.
            _undo(connection)
            return len(jobs) == 1
    try:
        connection.execute("COMMIT")
    except sqlite3.IntegrityError:
        # A foreign key that is checked in the end: somebody's, but not everybody's.
        if len(jobs) == 1:
            raise
        _undo(connection)
        return False
    return True


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


def _plainly(work: Work, connection: sqlite3.Connection) -> Any:
    return work(connection)


def _undone_by_itself(work: Work, connection: sqlite3.Connection) -> Any:
    """Does work of several statements, in a transaction that others share."""
    connection.execute("SAVEPOINT work")
    try:
        done = work(connection)
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK TO work")
            connection.execute("RELEASE work")
        raise
    connection.execute("RELEASE work")
    return done

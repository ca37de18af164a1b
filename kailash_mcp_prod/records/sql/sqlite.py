"""SQLite: one connection that writes, a few that read, each on a thread of its own."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiosqlite

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.records.completion import to_the_end
from kailash_mcp_prod.records.refusals import unavailable
from kailash_mcp_prod.records.sql.codecs import Dialect
from kailash_mcp_prod.records.sql.database import PoolUsage, Rows, Statement
from kailash_mcp_prod.records.sql.sqlite_errors import FAILURES, explain, was_interrupted
from kailash_mcp_prod.records.sql.sqlite_jobs import Deliveries, Job, Work, store_together
from kailash_mcp_prod.records.sql.sqlite_lane import Lane
from kailash_mcp_prod.records.sql.sqlite_statements import (
    execute,
    execute_all,
    execute_chain,
    execute_many,
    insertion,
)
from kailash_mcp_prod.records.sql.table import TableSql
from kailash_mcp_prod.records.turns import FairQueue

MAX_READERS = 4
_WRITES_TOGETHER = 64
_READS_IN_A_ROW = 256
_INTERRUPT_AGAIN_SECONDS = 0.02
_CLOSING_SECONDS = 5.0


class SqliteDatabase:
    """A SQLite file in WAL mode.

    Single writes that come at the same time are stored in one transaction, each of them all or
    nothing: what costs time is to wait for the disk.

    Args:
        path: The file, which must exist.
        readers: How many connections read; no more than four, which is what one process can use.
    """

    dialect: Dialect = "sqlite"

    def __init__(self, path: Path, *, readers: int = MAX_READERS) -> None:
        self._path = path
        self._readers = _Readers(path, min(readers, MAX_READERS))
        self._writer = _Writer(path)

    async def read(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """See `Runner.read`."""
        try:
            rows: Rows = await self._readers.run(partial(execute, text, arguments))
            return rows
        except FAILURES as failure:
            raise explain(table, failure) from failure

    async def write(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """See `Runner.write`."""
        try:
            rows: Rows = await self._writer.run(partial(execute, text, arguments))
            return rows
        except FAILURES as failure:
            raise explain(table, failure) from failure

    async def insert_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """See `Runner.insert_rows`."""
        insert = insertion(table, names, rows)
        try:
            keys: list[Any] = await self._writer.run(insert, several=True)
            return keys
        except FAILURES as failure:
            raise explain(table, failure) from failure

    @asynccontextmanager
    async def atomic(self) -> AsyncIterator[SqliteSession]:
        """See `Runner.atomic`."""
        async with self._writer.alone() as lane:
            session = SqliteSession(lane)
            try:
                yield session
                if session.failure is not None:
                    raise session.failure
            except BaseException:
                await _roll_back(lane)
                raise
            if not session.begun:
                return
            try:
                await to_the_end(lane.run(partial(execute, "COMMIT", ()), anew=False))
            except FAILURES as failure:
                await _roll_back(lane)
                raise explain(session.table, failure) from failure

    async def chain(self, first: Statement, then: Callable[[Rows], Sequence[Statement]]) -> None:
        """See `Database.chain`."""
        try:
            await self._writer.run(partial(execute_chain, first, then), several=True)
        except FAILURES as failure:
            raise explain(None, failure) from failure

    async def ping(self) -> None:
        """See `Database.ping`; on a connection of its own, so that it waits for nobody."""
        try:
            async with aiosqlite.connect(f"file:{quote(str(self._path))}?mode=ro", uri=True) as own:
                await own.execute_fetchall("SELECT 1 FROM sqlite_master LIMIT 1")
        except FAILURES as failure:
            raise unavailable() from failure

    def usage(self) -> PoolUsage:
        """See `Database.usage`."""
        read, write = self._readers, self._writer
        in_use = read.in_use + write.in_use
        limit = read.limit + 1
        return PoolUsage(in_use, limit - in_use, limit, read.waiting + write.waiting)

    async def close(self) -> None:
        """See `Database.close`."""
        await self._readers.close()
        await self._writer.close()


class _Readers:
    """Connections that read; each takes the next statement when it has time."""

    def __init__(self, path: Path, count: int) -> None:
        self._lanes = [
            Lane(path, f"sqlite-reader-{number}", reads_only=True) for number in range(count)
        ]
        self._idle = list(self._lanes)
        self._waiting = FairQueue[Job]()
        self._running: dict[Lane, Job] = {}
        self._deliveries = Deliveries(asyncio.get_running_loop())
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, work: Work) -> Any:
        job = Job(work, asyncio.get_running_loop().create_future())
        self._waiting.append(job)
        if self._idle:
            task = asyncio.create_task(self._serve(self._idle.pop()))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        try:
            return await job.future
        except asyncio.CancelledError:
            job.cancelled = True
            for lane in self._lanes:
                _interrupt_while(partial(self._runs, lane, job), lane)
            raise

    @property
    def limit(self) -> int:
        return len(self._lanes)

    @property
    def in_use(self) -> int:
        return len(self._lanes) - len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def _runs(self, lane: Lane, job: Job) -> bool:
        return self._running.get(lane) is job

    async def _serve(self, lane: Lane) -> None:
        """Lets a lane work until nothing waits any more."""
        try:
            while self._waiting:
                await lane.run(partial(self._drain, lane))
        except Exception as failure:  # noqa: BLE001 - the connection can't be opened; each call hears of it
            while self._waiting:
                job = self._waiting.popleft()
                job.failure = failure
                job.settle()
        finally:
            self._idle.append(lane)

    def _drain(self, lane: Lane, connection: sqlite3.Connection) -> None:
        """Runs what waits, up to a bound; on the thread of the lane."""
        for _ in range(_READS_IN_A_ROW):
            try:
                job = self._waiting.popleft()
            except IndexError:
                return
            self._running[lane] = job
            if not job.cancelled:
                job.execute(connection)
                if job.failure and was_interrupted(job.failure) and not job.cancelled:
                    # The interruption was meant for the one before.
                    job.execute(connection)
            del self._running[lane]
            self._deliveries.add(job)

    async def close(self) -> None:
        await asyncio.gather(*self._tasks)
        for lane in self._lanes:
            await lane.close()


class _Writer:
    """The connection that writes: single statements together, or one transaction alone."""

    def __init__(self, path: Path) -> None:
        self._lane = Lane(path, "sqlite-writer", reads_only=False)
        self._free = asyncio.Lock()
        self._waiting: deque[Job] = deque()
        self._deliveries = Deliveries(asyncio.get_running_loop())
        self._task: asyncio.Task[None] | None = None

    async def run(self, work: Work, *, several: bool = False) -> Any:
        future = asyncio.get_running_loop().create_future()
        job = Job(work, future, several=several)
        self._waiting.append(job)
        if self._task is None:
            self._task = asyncio.create_task(self._serve())
        try:
            return await asyncio.shield(job.future)
        except asyncio.CancelledError:
            job.cancelled = True
            if not job.started:
                raise
            # It is being stored, so the call goes on to report what came of it.
            await asyncio.wait({job.future})
            if job.skipped or not job.future.done():
                raise
        return job.future.result()

    @property
    def in_use(self) -> int:
        return int(self._free.locked())

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    async def _serve(self) -> None:
        """Stores what waits, until nothing does."""
        try:
            while self._waiting:
                async with self._free:
                    await self._lane.run(self._store_together)
        except Exception as failure:  # noqa: BLE001 - the connection can't be opened; each call hears of it
            while self._waiting:
                job = self._waiting.popleft()
                job.failure = failure
                job.settle()
        finally:
            self._task = None

    def _store_together(self, connection: sqlite3.Connection) -> None:
        """Stores what waits in one transaction; on the thread of the lane."""
        jobs: list[Job] = []
        while self._waiting and len(jobs) < _WRITES_TOGETHER:
            job = self._waiting.popleft()
            # In this order, so that a call that is cancelled now knows whether to wait for it.
            job.started = True
            job.skipped = job.cancelled
            jobs.append(job)
        try:
            store_together(connection, [job for job in jobs if not job.skipped])
        finally:
            for job in jobs:
                self._deliveries.add(job)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[Lane]:
        """The lane, for one transaction of several statements."""
        async with self._free:
            yield self._lane

    async def close(self) -> None:
        if self._task is not None:
            await asyncio.wait({self._task})
        # An open transaction has this long to end; after that it is undone.
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._free.acquire()
                self._free.release()
        await self._lane.close()


class SqliteSession:
    """An open transaction; see `Session`.

    It begins with its first statement, because each hand-over to the thread takes as long as a
    statement.
    """

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self.begun = False
        self.table: TableSql | None = None
        self.failure: ServerError | None = None

    async def _run(self, table: TableSql | None, work: Any) -> Any:
        """Runs a function on the connection; a cancelled one is stopped and waited for."""
        if self.failure is not None:
            # SQLite may have ended the transaction, and what follows would be stored by itself.
            raise self.failure
        self.table = table
        first, self.begun = not self.begun, True
        try:
            begun = partial(_begin_with, work) if first else work
            return await _stoppable(self._lane, begun, anew=first)
        except FAILURES as failure:
            self.failure = explain(table, failure)
            raise self.failure from failure

    async def read(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """See `Runner.read`."""
        rows: Rows = await self._run(table, partial(execute, text, arguments))
        return rows

    write = read

    async def write_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[Rows]:
        """See `Session.write_all`."""
        found: list[Rows] = await self._run(None, partial(execute_all, statements))
        return found

    @asynccontextmanager
    async def atomic(self) -> AsyncIterator[SqliteSession]:
        """See `Runner.atomic`."""
        yield self

    async def insert_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """See `Runner.insert_rows`."""
        insert = insertion(table, names, rows)
        keys: list[Any] = await self._run(table, insert)
        return keys

    async def update_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """See `Session.update_rows`."""
        await self._run(table, partial(execute_many, table.update_each(names), rows))


async def _stoppable(lane: Lane, work: Any, *, anew: bool) -> Any:
    task = asyncio.ensure_future(lane.run(work, anew=anew))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        _interrupt_while(lambda: not task.done(), lane)
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()
        raise


def _interrupt_while(is_running: Callable[[], bool], lane: Lane) -> None:
    """Interrupts a lane until its work has ended: one that is about to begin hears nothing yet."""
    if is_running():
        lane.interrupt()
        loop = asyncio.get_running_loop()
        loop.call_later(_INTERRUPT_AGAIN_SECONDS, _interrupt_while, is_running, lane)


def _begin_with(work: Work, connection: sqlite3.Connection) -> Any:
    """Begins a transaction, when other processes that write let it, with some work."""
    connection.execute("BEGIN IMMEDIATE")
    return work(connection)


def _undo(connection: sqlite3.Connection) -> None:
    if connection.in_transaction:
        connection.execute("ROLLBACK")


async def _roll_back(lane: Lane) -> None:
    # Where there is no connection any more, there is nothing to undo.
    with suppress(*FAILURES):
        await to_the_end(lane.run(_undo, anew=False))

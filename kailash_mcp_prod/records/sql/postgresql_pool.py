"""Connections to PostgreSQL, kept for the next statement.

asyncpg's own pool makes a task for each release and asks the server to reset the session, which
takes as long as a short statement; and it knows no bound of age. Nothing of ours outlives a
transaction, so there is nothing to reset.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import Any

import asyncpg

from kailash_mcp_prod.records.sql.database import PoolSettings, PoolUsage

_CONNECT_SECONDS = 10.0
_PING_SECONDS = 2.0
_TRUSTED_SECONDS = 1.0
_PING_AFTER_IDLE_SECONDS = 30.0
_CLOSING_SECONDS = 5.0
_STATEMENTS_PREPARED = 512

FAILURES = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    OverflowError,
)
"""What asyncpg raises when it connects or runs a statement.

An `OSError` may be a time-out, an `InternalClientError` the end of a connection that came just
when a statement began, and an `OverflowError` a stored date before the year 1.
"""


class Connection(asyncpg.Connection):  # type: ignore[misc]
    """A connection that knows its age and when it was last used."""

    __slots__ = ("born", "used")

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.born = self.used = time.monotonic()


class ConnectionPool:
    """A bounded number of connections; each is opened when it is needed.

    Args:
        url: Where the database is, as asyncpg takes it.
        settings: The bounds.
    """

    def __init__(self, url: str, settings: PoolSettings) -> None:
        self._url = url
        self._settings = settings
        self._limit = settings.size + settings.overflow
        self._room = asyncio.Semaphore(self._limit)
        self._wanted = 0
        self._opening = 0
        self._idle: list[Connection] = []
        self._taken: set[Connection] = set()
        self._closing: set[asyncio.Task[None]] = set()
        self._doubted: set[asyncio.Task[None]] = set()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._answered = -math.inf
        self._trimming: asyncio.TimerHandle | None = None
        self._closed = False
        milliseconds = round(settings.statement_seconds * 1000)
        self._server_settings = {
            "application_name": "kailash-mcp-prod",
            "timezone": "UTC",
        }
        # By statements, because PgBouncer refuses to pass these on at the start of a session.
        self._bounds = (
            f"SET statement_timeout = {milliseconds};"
            f" SET idle_in_transaction_session_timeout = {2 * milliseconds}"
        )

    async def acquire(self) -> Connection:
        """A connection that was alive a moment ago and is not too old; waits for a free one.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: None can be opened.
        """
        self._wanted += 1
        try:
            self._refuse_when_closed()
            await self._room.acquire()
            try:
                self._refuse_when_closed()
                connection = await self._some()
            except BaseException:
                self._room.release()
                raise
        except BaseException:
            self._wanted -= 1
            raise
        self._taken.add(connection)
        return connection

    def release(self, connection: Connection, failure: BaseException | None = None) -> None:
        """Gives a connection back.

        Args:
            connection: The connection, on which nothing runs any more.
            failure: What its last statement failed with.
        """
        self._taken.discard(connection)
        self._room.release()
        self._wanted -= 1
        if _speaks_for_all(failure):
            # The others that were used before are of the same kind, whatever happened to it.
            connection.terminate()
            self._close_idle()
        elif not connection.is_closed() and connection.is_in_transaction():
            connection.terminate()
        if not connection.is_closed():
            connection.used = self._answered = time.monotonic()
            self._idle.append(connection)
        if self._closed:
            self._close_idle()
        elif self._trimming is None and self._surplus() > 0:
            self._trim_later()
        self._wake_one()

    def doubt(self, connection: Connection) -> None:
        """Gives a connection back on which a statement was given up.

        It may still run, or the server may be gone: nobody gets the connection before it has
        answered again, which is waited for in the background.
        """
        task = asyncio.create_task(self._reassure(connection))
        self._doubted.add(task)
        task.add_done_callback(self._doubted.discard)

    def usage(self) -> PoolUsage:
        """How the connections are used now."""
        working = len(self._taken)
        waiting = max(0, self._wanted - working - self._opening)
        return PoolUsage(working, len(self._idle), self._limit, waiting)

    async def ping(self) -> None:
        """Asks the server for an answer, and waits for no free connection to do so.

        Raises:
            OSError, asyncpg.PostgresError, asyncpg.InterfaceError: There is none.
        """
        if not self._room.locked():
            connection = await self.acquire()
            failure: BaseException | None = None
            try:
                await connection.execute("SELECT 1", timeout=_PING_SECONDS)
            except BaseException as unanswered:
                failure = unanswered
                connection.terminate()
                raise
            finally:
                self.release(connection, failure)
        elif time.monotonic() - self._answered > _TRUSTED_SECONDS:
            self._refuse_when_closed()
            beside = await asyncpg.connect(self._url, timeout=_PING_SECONDS)
            try:
                await beside.execute("SELECT 1", timeout=_PING_SECONDS)
            finally:
                beside.terminate()

    async def _reassure(self, connection: Connection) -> None:
        failure: BaseException | None = None
        try:
            await connection.execute("SELECT 1", timeout=_PING_SECONDS)
        except FAILURES as unanswered:
            failure = unanswered
            connection.terminate()
        finally:
            self.release(connection, failure)

    async def close(self) -> None:
        """Closes all connections; those in use when they are given back, or after some seconds."""
        self._closed = True
        if self._trimming is not None:
            self._trimming.cancel()
        self._close_idle()
        while self._waiting:
            self._wake_one()
        rooms = 0
        try:
            async with asyncio.timeout(_CLOSING_SECONDS):
                for _ in range(self._limit):
                    await self._room.acquire()
                    rooms += 1
        except TimeoutError:
            for connection in self._taken:
                connection.terminate()
        finally:
            # Whoever waited for one hears that there are none any more.
            for _ in range(rooms):
                self._room.release()
        background = self._closing | self._doubted
        if background:
            await asyncio.wait(background)

    def _refuse_when_closed(self) -> None:
        if self._closed:
            raise asyncpg.InterfaceError("the pool is closed")

    def _wake_one(self) -> None:
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    async def _some(self) -> Connection:
        """A kept connection or a new one; if the server allows no more, the next to be free."""
        while True:
            connection = await self._kept()
            if connection is not None:
                return connection
            self._opening += 1
            try:
                return await self._connect()
            except asyncpg.TooManyConnectionsError:
                if not self._taken and not self._idle and self._opening == 1:
                    # There will be none to wait for, for the others neither.
                    self._wake_one()
                    raise
            finally:
                self._opening -= 1
            if not self._idle:
                await self._next_free()

    async def _next_free(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if not waiter.cancelled():
                # It was this one's turn, and now it is the next one's.
                self._wake_one()
            raise

    def _surplus(self) -> int:
        """How many connections there are beyond those that are kept."""
        return len(self._idle) + len(self._taken) - self._settings.size

    def _trim_later(self) -> None:
        loop = asyncio.get_running_loop()
        self._trimming = loop.call_later(self._settings.overflow_seconds, self._trim)

    def _trim(self) -> None:
        """Closes what goes beyond those that are kept and was not needed for a while."""
        self._trimming = None
        needed_since = time.monotonic() - self._settings.overflow_seconds
        while self._surplus() > 0 and self._idle and self._idle[0].used <= needed_since:
            self._close(self._idle.pop(0))
        if self._surplus() > 0:
            self._trim_later()

    def _close_idle(self) -> None:
        while self._idle:
            self._close(self._idle.pop())

    async def _kept(self) -> Connection | None:
        while self._idle:
            connection = self._idle.pop()
            try:
                if await self._is_good(connection):
                    return connection
            except FAILURES:
                # The others are below it, so nobody has used them since.
                connection.terminate()
                self._close_idle()
            except BaseException:
                connection.terminate()
                raise
            self._close(connection)
        return None

    async def _is_good(self, connection: Connection) -> bool:
        now = time.monotonic()
        if connection.is_closed() or now - connection.born > self._settings.recycle_seconds:
            return False
        if now - connection.used > _PING_AFTER_IDLE_SECONDS:
            # A firewall may have forgotten it, which nobody notices before the first statement.
            await connection.execute("SELECT 1", timeout=_PING_SECONDS)
        return True

    async def _connect(self) -> Connection:
        while self._closing and len(self._closing) + min(self._wanted, self._limit) > self._limit:
            # The server counts them until they are closed.
            await asyncio.wait(self._closing, return_when=asyncio.FIRST_COMPLETED)
        self._refuse_when_closed()
        connection: Connection = await asyncpg.connect(
            self._url,
            timeout=_CONNECT_SECONDS,
            connection_class=Connection,
            statement_cache_size=_STATEMENTS_PREPARED,
            server_settings=self._server_settings,
        )
        try:
            await connection.execute(self._bounds, timeout=_CONNECT_SECONDS)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def _close(self, connection: Connection) -> None:
        task = asyncio.create_task(_close_politely(connection))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def is_lost(failure: BaseException | None) -> bool:
    """Whether the connection broke, so that the server's answer is not known."""
    if isinstance(failure, asyncpg.DataError):
        return False
    return isinstance(
        failure,
        asyncpg.ConnectionDoesNotExistError
        | asyncpg.InterfaceError
        | asyncpg.InternalClientError
        | OSError,
    )


_ENDING = (
    asyncpg.ReadOnlySQLTransactionError,
    asyncpg.AdminShutdownError,
    asyncpg.CrashShutdownError,
)


def _speaks_for_all(failure: BaseException | None) -> bool:
    """Whether the failure is the server's and not the statement's.

    A server that only reads is one that another has replaced.
    """
    return is_lost(failure) or isinstance(failure, _ENDING)


async def _close_politely(connection: Connection) -> None:
    try:
        await connection.close(timeout=_PING_SECONDS)
    except FAILURES:
        connection.terminate()

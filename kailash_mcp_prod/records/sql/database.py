"""What `SqlRecords` needs of a database: statements one by one, and transactions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from kailash_mcp_prod.records.sql.codecs import Dialect
    from kailash_mcp_prod.records.sql.table import TableSql

Rows = Sequence[Sequence[Any]]

Statement = tuple[str, Sequence[Any]]
"""A statement on a table of ours, and its parameters."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """Bounds of a pool of connections.

    `size` connections are kept, `overflow` more are opened under load and closed when nobody has
    needed them for `overflow_seconds`; one that is older than `recycle_seconds` is replaced. A
    statement is stopped after `statement_seconds`. `wrap` stands around the database.
    """

    size: int = 10
    overflow: int = 10
    overflow_seconds: float = 10
    recycle_seconds: float = 3600
    statement_seconds: float = 30
    wrap: Callable[[Database], Database] | None = None


@dataclass(frozen=True, slots=True)
class PoolUsage:
    """The connections of a pool at one moment.

    `in_use` work and `idle` are open beside; there may be `limit`. `waiting` statements wait for
    one.
    """

    in_use: int
    idle: int
    limit: int
    waiting: int


class Runner(Protocol):
    """Runs statements on a table. Failures are raised as `ServerError`."""

    async def read(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """The rows of a statement that changes nothing; `None` as its table names one of ours."""

    async def write(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """Runs one statement, all or nothing, and returns its rows."""

    async def insert_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """Inserts rows of parameters, all or none; the keys if the database makes them."""

    def atomic(self) -> AbstractAsyncContextManager[Session]:
        """Several statements, all or nothing. Within a transaction, that transaction."""


class Session(Runner, Protocol):
    """An open transaction on one connection.

    When a statement of it has failed, its end undoes it and raises that failure again, even if
    nobody else did.
    """

    async def update_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """Changes rows that exist: the parameters of the columns, then the key."""

    async def write_all(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> Sequence[Rows]:
        """Runs statements on tables of ours, one after another, and returns the rows of each."""


class Database(Runner, Protocol):
    """A database with its connections."""

    dialect: Dialect

    async def chain(self, first: Statement, then: Callable[[Rows], Sequence[Statement]]) -> None:
        """Runs a statement and then those that a function makes of its rows, all or nothing.

        They may be stored together with what others write at the same time.

        Args:
            first: Finds the rows, and holds them where others could change them meanwhile.
            then: Makes the further statements, perhaps on another thread.
        """

    async def ping(self) -> None:
        """Asks for an answer; raises `UnavailableError` when there is none."""

    def usage(self) -> PoolUsage:
        """How its connections are used now."""

    async def close(self) -> None:
        """Closes all connections."""

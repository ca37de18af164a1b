"""Spans of SQL: the statements as they are sent, and never a value."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.records.sql.database import Database, PoolUsage, Rows, Session, Statement

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

    from kailash_mcp_prod.records.sql.codecs import Dialect
    from kailash_mcp_prod.records.sql.table import TableSql

_LONGEST_TEXT: Final = 2048


class _TracedRunner:
    """What a database and a transaction have in common."""

    def __init__(self, inner: Database | Session, tracer: Tracer, system: str) -> None:
        self._runner = inner
        self._tracer = tracer
        self._system = system

    async def read(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """See `Runner.read`."""
        with self._span(text, table):
            return await self._runner.read(table, text, arguments)

    async def write(self, table: TableSql | None, text: str, arguments: Sequence[Any]) -> Rows:
        """See `Runner.write`."""
        with self._span(text, table):
            return await self._runner.write(table, text, arguments)

    async def insert_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> list[Any]:
        """See `Runner.insert_rows`."""
        with self._span("INSERT", table, count=len(rows)):
            return await self._runner.insert_rows(table, names, rows)

    @asynccontextmanager
    async def atomic(self) -> AsyncIterator[Session]:
        """See `Runner.atomic`."""
        with self._span("BEGIN", None):
            async with self._runner.atomic() as session:
                yield TracedSession(session, self._tracer, self._system)

    @contextmanager
    def _span(self, text: str, table: TableSql | None, count: int = 0) -> Iterator[None]:
        from opentelemetry.trace import SpanKind, StatusCode

        operation = text.lstrip()[:10].split(None, 1)[0].upper()
        attributes: dict[str, Any] = {
            "db.system.name": self._system,
            "db.operation.name": operation,
            "db.query.text": text[:_LONGEST_TEXT],
        }
        name = operation
        if table is not None:
            name = f"{operation} {table.model.table}"
            attributes["db.collection.name"] = table.model.table
        if count:
            attributes["db.operation.batch.size"] = count
        with self._tracer.start_as_current_span(
            name,
            kind=SpanKind.CLIENT,
            attributes=attributes,
            # Messages of databases quote values.
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            try:
                yield
            except ServerError as error:
                span.set_attribute("error.type", error.code)
                span.set_status(StatusCode.ERROR, error.code)
                raise


class TracedSession(_TracedRunner):
    """A transaction whose statements are spans."""

    def __init__(self, inner: Session, tracer: Tracer, system: str) -> None:
        super().__init__(inner, tracer, system)
        self._session = inner

    async def update_rows(
        self, table: TableSql, names: tuple[str, ...], rows: Sequence[Sequence[Any]]
    ) -> None:
        """See `Session.update_rows`."""
        with self._span("UPDATE", table, count=len(rows)):
            await self._session.update_rows(table, names, rows)

    async def write_all(self, statements: Sequence[Statement]) -> Sequence[Rows]:
        """See `Session.write_all`."""
        with self._span("; ".join(text for text, _ in statements), None, count=len(statements)):
            return await self._session.write_all(statements)


class TracedDatabase(_TracedRunner):
    """A database whose statements are spans.

    Args:
        inner: It.
        tracer: Makes spans.
    """

    def __init__(self, inner: Database, tracer: Tracer) -> None:
        super().__init__(inner, tracer, inner.dialect)
        self._inner = inner
        self.dialect: Dialect = inner.dialect

    async def chain(self, first: Statement, then: Callable[[Rows], Sequence[Statement]]) -> None:
        """See `Database.chain`."""
        with self._span(first[0], None):
            await self._inner.chain(first, then)

    async def ping(self) -> None:
        """See `Database.ping`."""
        await self._inner.ping()

    def usage(self) -> PoolUsage:
        """See `Database.usage`."""
        return self._inner.usage()

    async def close(self) -> None:
        """See `Database.close`."""
        await self._inner.close()

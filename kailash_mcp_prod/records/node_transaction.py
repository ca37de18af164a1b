"""One open transaction of DataFlow's, on which its generated nodes run.

The nodes join a transaction through their workflow context; DataFlow's own transaction API
does not (its documented form commits each statement). The private names used here are the only
way to that context in kailash-dataflow 2.20.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from typing import Any

from kailash_mcp_prod.errors import ConflictError, ForbiddenError, InternalError, ServerError
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.node_errors import DataFlowFailureError, translate_failures
from kailash_mcp_prod.records.types import FieldType, Kind

# PostgreSQL 14 knows no other provider than the C library, and does not name it.
_POSTGRESQL_COLLATION = """
    SELECT datcollate, coalesce(to_jsonb(pg_database) ->> 'datlocprovider', 'c')
    FROM pg_database WHERE datname = current_database()
"""
_CODE_POINT_COLLATIONS = frozenset({"C", "POSIX", "C.UTF-8", "C.utf8"})


# What failures in tables of the server's own are about.
_OURS = Model("record", "", "", (Field("id", FieldType(Kind.TEXT), "", required=False),))


class NodeTransaction:
    """One open transaction.

    `orders_texts` says whether the database orders texts as Python does. `failure` is what went
    wrong in it first; after that it can't be stored.

    Args:
        db: The DataFlow instance.
        dialect: `sqlite` or `postgresql`.
        scope: DataFlow's open transaction.
    """

    def __init__(self, db: Any, dialect: str, scope: Any) -> None:
        self.dialect = dialect
        self.orders_texts = False
        self.failure: ServerError | None = None
        self.has_written = False
        self._db = db
        self._connection = scope.connection
        self._context = {"active_transaction": scope}

    async def begin(self, *, snapshot: bool = False) -> None:
        """Makes the timestamps that the database writes UTC, as all others are.

        Args:
            snapshot: Whether all reads are to see the same state; for reads alone.
        """
        if self.dialect == "postgresql":
            level = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; " if snapshot else ""
            await self._connection.execute(f"{level}SET LOCAL TIME ZONE 'UTC'")

    async def ask_text_order(self) -> bool:
        """Whether the database orders texts by their code points."""
        if self.dialect == "sqlite":
            return True
        return orders_code_points(*await self._connection.fetchrow(_POSTGRESQL_COLLATION))

    @property
    def may_be_stored(self) -> bool:
        """Whether a commit now would store a change, as far as is known."""
        lost = self.dialect == "postgresql" and self._connection.is_closed()
        return self.has_written and not lost

    @contextmanager
    def guarded(self, model: Model) -> Iterator[None]:
        """Translates failures, and keeps the first one."""
        try:
            with translate_failures(model):
                yield
        except BaseException as failure:
            self.fail(failure)
            raise

    def fail(self, failure: BaseException) -> None:
        """Notes that a part of the transaction did not come to its end."""
        if self.failure is None:
            stopped = InternalError("This was stopped before its end. Nothing was changed.")
            self.failure = failure if isinstance(failure, ServerError) else stopped

    async def run(
        self, model: Model, operation: str, tenant: str | None, /, **parameters: Any
    ) -> dict[str, Any]:
        """Runs the generated node of an operation, such as `Create`, on this connection.

        The parameters of `Create` are the fields of the model, whatever their names.
        """
        with self.guarded(model), nullcontext() if tenant is None else _bound(self._db, tenant):
            node = self._db._nodes[f"{model.name}{operation}Node"]()  # noqa: SLF001
            node._workflow_context = self._context  # noqa: SLF001
            result: dict[str, Any] = await node.async_run(**parameters)
            # A report of success may repeat the row, whose fields may have these names.
            if result.get("success") is False and result.keys() == {"success", "error"}:
                raise DataFlowFailureError(str(result["error"]))
            return result

    @asynccontextmanager
    async def savepoint(self, model: Model) -> AsyncIterator[None]:
        """What fails in its block with a `ConflictError` is undone, and others can follow it.

        On SQLite a failed statement undoes itself alone, so the block is for one write.
        """
        before = self.failure
        if self.dialect == "postgresql":
            await self.execute(model, "SAVEPOINT one_write")
        try:
            yield
        except ConflictError:
            if self.dialect == "postgresql":
                await self.execute(model, "ROLLBACK TO SAVEPOINT one_write")
            self.failure = before
            raise
        if self.dialect == "postgresql":
            await self.execute(model, "RELEASE SAVEPOINT one_write")

    async def execute(self, model: Model, statement: str, *values: Any) -> None:
        """Executes a statement on PostgreSQL."""
        with self.guarded(model):
            await self._connection.execute(statement, *values)

    async def statement(self, text: str, values: Sequence[Any]) -> Sequence[Sequence[Any]]:
        """Runs a statement on a table of the server's own, and returns its rows."""
        self.has_written = True
        with self.guarded(_OURS):
            if self.dialect == "postgresql":
                rows: Sequence[Sequence[Any]] = await self._connection.fetch(text, *values)
                return rows
            cursor = await self._connection.execute(text, values)
            try:
                return [tuple(row) for row in await cursor.fetchall()]
            finally:
                await cursor.close()

    async def last_key(self, model: Model) -> int:
        """The key that SQLite made for the last row inserted."""
        with self.guarded(model):
            cursor = await self._connection.execute("SELECT last_insert_rowid()")
            [key] = await cursor.fetchone()
            await cursor.close()
            return int(key)


def orders_code_points(collation: str, provider: str) -> bool:
    """Whether texts are ordered by their code points in a PostgreSQL database.

    Args:
        collation: Its `datcollate`.
        provider: Its `datlocprovider`: `b`uilt in, which knows no other order, `c` library or
            `i`cu.
    """
    return provider == "b" or (provider == "c" and collation in _CODE_POINT_COLLATIONS)


@contextmanager
def _bound(db: Any, tenant: str) -> Iterator[None]:
    """Makes a tenant the one whose rows DataFlow's nodes work on.

    DataFlow only takes tenants that are registered, and keeps those for ever; so one that the
    application has not registered is registered for this moment only.
    """
    tenants = db.tenant_context
    known = tenants.get_tenant(tenant)
    if known is None:
        tenants.register_tenant(tenant, tenant)
    elif not known.active:
        raise ForbiddenError("The tenant of this credential is not active.")
    try:
        with tenants.switch(tenant):
            yield
    finally:
        # Others that are bound to it meanwhile stay so: only `switch` looks at the registration.
        if known is None:
            tenants.unregister_tenant(tenant)

"""Opens the database of an address for `SqlStore`."""

from __future__ import annotations

from kailash_mcp_prod.records.connecting import is_postgresql, sqlite_path
from kailash_mcp_prod.records.sql.database import Database, PoolSettings


def open_database(url: str, pool: PoolSettings) -> Database:
    """The database of an address; its connections are made when they are needed.

    Args:
        url: The address, as DataFlow takes it.
        pool: The bounds of the connections.
    """
    opened = _open(url, pool)
    return opened if pool.wrap is None else pool.wrap(opened)


def _open(url: str, pool: PoolSettings) -> Database:
    if is_postgresql(url):
        # Late, because asyncpg is an extra.
        from kailash_mcp_prod.records.sql.postgresql import PostgresqlDatabase

        return PostgresqlDatabase(url, pool)
    from kailash_mcp_prod.records.sql.sqlite import SqliteDatabase

    return SqliteDatabase(sqlite_path(url), readers=pool.size)

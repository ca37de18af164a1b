"""Statements sent to a database by its driver, past everything that is tested."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import psycopg2


def run_sql(url: str, *statements: str) -> list[tuple[Any, ...]]:
    """Runs the statements, stores what they do, and gives the rows of the last one."""
    rows: list[tuple[Any, ...]] = []
    with closing(_connect(url)) as connection, closing(connection.cursor()) as cursor:
        for statement in statements:
            cursor.execute(statement)
        if cursor.description:
            rows = cursor.fetchall()
        connection.commit()
    return rows


def schema_of(url: str) -> set[tuple[str, str]]:
    """Kind and name of all that the database holds: tables, indexes and sequences."""
    if url.startswith("sqlite"):
        return set(run_sql(url, "SELECT type, name FROM sqlite_master"))
    return set(
        run_sql(
            url,
            "SELECT relkind::text, relname::text FROM pg_class WHERE relnamespace = "
            "(SELECT oid FROM pg_namespace WHERE nspname = 'public')",
        )
    )


def _connect(url: str) -> Any:
    if url.startswith("sqlite"):
        return sqlite3.connect(url.removeprefix("sqlite:///"))
    return psycopg2.connect(url)

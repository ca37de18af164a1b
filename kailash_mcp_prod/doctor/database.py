"""Whether the database can be used."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from typing import Any, Final
from urllib.parse import quote

from kailash_mcp_prod.doctor.clocks import compare
from kailash_mcp_prod.doctor.examination import in_thread
from kailash_mcp_prod.doctor.finding import Finding, failed, ok, skipped, warning
from kailash_mcp_prod.doctor.patient import Patient
from kailash_mcp_prod.errors import DatabaseStartupError

_CHECK: Final = "database"
_OLDEST_POSTGRESQL: Final = 14
_SQLITE: Final = "sqlite:///"


async def check_database(patient: Patient) -> list[Finding]:
    """Does it take connections, may tables be made, is it new enough, and is its clock ours?"""
    from kailash_mcp_prod.models_loader import absolute_sqlite_url
    from kailash_mcp_prod.records.connecting import (
        is_postgresql,
        require_lasting,
        wait_for_database,
    )

    url = patient.config.database_url
    if url is None:
        return [skipped(_CHECK, "DATABASE_URL is not set, so the models choose it themselves.")]
    try:
        if is_postgresql(url):
            return await _postgresql(url, auto_migrate=patient.config.auto_migrate)
        if not url.startswith(_SQLITE):
            return [_failed("DATABASE_URL is neither of SQLite nor of PostgreSQL.")]
        require_lasting(url)
        absolute = absolute_sqlite_url(url)
        await in_thread(lambda: _open_sqlite(absolute))
    except DatabaseStartupError as problem:
        return [_failed(str(problem))]
    await wait_for_database(absolute, 0)
    return [ok(_CHECK, f"The SQLite file can be used (SQLite {sqlite3.sqlite_version}).")]


def _failed(message: str) -> Finding:
    fix = "Set DATABASE_URL, such as sqlite:////absolute/path.db or postgresql://user@host/name."
    return failed(_CHECK, message, fix)


def _open_sqlite(url: str) -> None:
    """Opens the file as far as that leaves no trace.

    Raises:
        DatabaseStartupError: It can't be used; the message says why.
    """
    from kailash_mcp_prod.records.connecting import is_there, sqlite_path

    path = sqlite_path(url)
    there = is_there(path)
    # SQLite makes further files beside it, so the folder counts too.
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise DatabaseStartupError(f"The folder {path.parent} of the SQLite file can't be written.")
    if there and not os.access(path, os.R_OK | os.W_OK):
        raise DatabaseStartupError(f"The SQLite file {path} can't be read and written.")
    if there:
        try:
            address = f"file:{quote(str(path))}?mode=ro"
            with closing(sqlite3.connect(address, uri=True)) as connection:
                connection.execute("PRAGMA schema_version").fetchone()
        except sqlite3.Error as failure:
            raise DatabaseStartupError(f"The SQLite database can't be opened: {failure}.") from None


async def _postgresql(url: str, *, auto_migrate: bool) -> list[Finding]:
    from kailash_mcp_prod.records.connecting import connected_to_postgresql

    async with connected_to_postgresql(url) as connection:
        asked = time.time()
        row: Any = await connection.fetchrow(
            "SELECT extract(epoch FROM clock_timestamp())::float8 AS now,"
            " current_setting('server_version_num')::int / 10000 AS version,"
            " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AS creates"
        )
        answered = time.time()
    found = [ok(_CHECK, f"PostgreSQL {row['version']} takes connections.")]
    if row["version"] < _OLDEST_POSTGRESQL:
        found = [
            warning(
                _CHECK,
                f"PostgreSQL {row['version']} is no longer mended by its makers.",
                f"Move to {_OLDEST_POSTGRESQL} or later.",
            )
        ]
    if not row["creates"]:
        text = "The user of DATABASE_URL may make no tables."
        fix = "GRANT CREATE ON SCHEMA public to it, or make the tables as another user once."
        found = [failed(_CHECK, text, fix) if auto_migrate else warning(_CHECK, text, fix)]
    return [*found, compare("database", row["now"], asked, answered)]

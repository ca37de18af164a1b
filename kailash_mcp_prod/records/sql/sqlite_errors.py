"""What a failure of SQLite means to the caller; nothing it says is passed on."""

from __future__ import annotations

import logging
import re
import sqlite3

from kailash_mcp_prod.errors import CallTimeoutError, ServerError
from kailash_mcp_prod.records.refusals import (
    busy,
    defect,
    referred_to,
    taken,
    unavailable,
    value_refused,
)
from kailash_mcp_prod.records.sql.table import TableSql

logger = logging.getLogger(__name__)

FAILURES = (sqlite3.Error, sqlite3.Warning, OverflowError)
"""What Python's sqlite3 raises for a statement."""

_UNIQUE = re.compile(r"UNIQUE constraint failed: (.+)", re.DOTALL)
_PRIMARY_BITS = 0xFF
_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
    }
)


def was_interrupted(failure: BaseException) -> bool:
    """Whether the statement was stopped by `interrupt`."""
    return getattr(failure, "sqlite_errorcode", None) == sqlite3.SQLITE_INTERRUPT


def is_busy(failure: BaseException | None) -> bool:
    """Whether another process held the lock for as long as we wait."""
    return getattr(failure, "sqlite_errorcode", 0) & _PRIMARY_BITS == sqlite3.SQLITE_BUSY


def explain(table: TableSql | None, failure: BaseException) -> ServerError:
    """The error for the caller; the log has the cause where an operator has to see it."""
    code: int = getattr(failure, "sqlite_errorcode", 0)
    match code & _PRIMARY_BITS:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return busy()
        case sqlite3.SQLITE_INTERRUPT:
            return CallTimeoutError("The database took too long and was stopped. Ask for less.")
        case sqlite3.SQLITE_CONSTRAINT if table is not None:
            return _broken_constraint(table, failure, code)
        case sqlite3.SQLITE_TOOBIG | sqlite3.SQLITE_MISMATCH:
            return value_refused()
        case primary if primary in _UNAVAILABLE:
            logger.warning("SQLite is not available", exc_info=failure)
            return unavailable()
    if isinstance(failure, OverflowError | sqlite3.DataError):
        return value_refused()
    logger.error("A statement failed", exc_info=failure)
    return defect()


def _broken_constraint(table: TableSql, failure: BaseException, code: int) -> ServerError:
    if code == sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
        return referred_to(table.model)
    match = _UNIQUE.search(str(failure))
    if match:
        columns = (each.rpartition(".")[2] for each in match.group(1).split(", "))
        known = tuple(each for each in columns if each in table.codecs)
        return taken(table.model, known)
    if code in {sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY}:
        return taken(table.model, ())
    return value_refused()

"""What a failure of PostgreSQL or asyncpg means to the caller; nothing it says is passed on."""

from __future__ import annotations

import logging

import asyncpg

from kailash_mcp_prod.errors import (
    CallTimeoutError,
    ConflictError,
    InvalidArgumentsError,
    ServerError,
)
from kailash_mcp_prod.records.refusals import (
    contention,
    defect,
    outcome_unknown,
    referred_to,
    taken,
    too_long_for_index,
    unavailable,
    value_refused,
)
from kailash_mcp_prod.records.sql.postgresql_pool import is_lost
from kailash_mcp_prod.records.sql.table import TableSql

logger = logging.getLogger(__name__)

_OUTDATED = (asyncpg.InvalidCachedStatementError, asyncpg.OutdatedSchemaCacheError)
_UNAVAILABLE_CLASSES = ("08", "53", "57P", "58")
_READ_ONLY = "25006"
_CONTENTION = frozenset({"40001", "40P01", "55P03"})
# By its own time-out, or because temporary files have their bound.
_STOPPED = frozenset({"57014", "53400"})
_UNIQUE, _EXCLUSION, _FOREIGN_KEY = "23505", "23P01", "23503"
_TOO_LARGE_FOR_INDEX = "54000"


def explain(
    table: TableSql | None, failure: BaseException, *, storing: bool = False
) -> ServerError:
    """The error for the caller; the log has the cause where an operator has to see it.

    Args:
        table: What the statement was about.
        failure: What asyncpg raised.
        storing: Whether a change may have been stored when the connection broke.
    """
    if is_lost(failure):
        logger.warning("The connection to PostgreSQL was lost: %s", type(failure).__name__)
        return outcome_unknown() if storing else unavailable()
    if isinstance(failure, asyncpg.DataError) and not isinstance(failure, asyncpg.PostgresError):
        # asyncpg refuses a parameter that the column's type can't hold.
        return value_refused()
    if isinstance(failure, _OUTDATED):
        # A table has changed meanwhile; the next attempt prepares its statements anew.
        return contention()
    state = getattr(failure, "sqlstate", None) or ""
    if state in _STOPPED:
        return CallTimeoutError(
            "The database had too much to do and was stopped. Nothing was changed. Ask for less at "
            "once."
        )
    if state in _CONTENTION:
        return contention()
    if state.startswith(_UNAVAILABLE_CLASSES) or state == _READ_ONLY:
        logger.warning("PostgreSQL is not available: %s", type(failure).__name__)
        return unavailable()
    if table is not None and (refusal := _refusal(table, failure, state)) is not None:
        return refusal
    logger.error("A statement failed", exc_info=failure)
    return defect()


def _refusal(
    table: TableSql, failure: BaseException, state: str
) -> ConflictError | InvalidArgumentsError | None:
    if state in {_UNIQUE, _EXCLUSION}:
        constraint = getattr(failure, "constraint_name", None) or ""
        return taken(table.model, table.unique_columns.get(constraint, ()))
    if state == _FOREIGN_KEY:
        return referred_to(table.model)
    if state == _TOO_LARGE_FOR_INDEX:
        return too_long_for_index()
    if state.startswith(("22", "23")):
        column = getattr(failure, "column_name", None)
        known = column if column and table.model.field(column) else None
        return value_refused(known)
    return None

"""What a failure below DataFlow means to the caller; nothing it says is passed on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.records.model import Model
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

logger = logging.getLogger(__name__)

_SQLITE_UNIQUE = re.compile(r"UNIQUE constraint failed: ([\w.]+(?:, [\w.]+)*)")
_POSTGRESQL_UNIQUE = re.compile(r'unique constraint "?([\w]+)"?')
_UNAVAILABLE = re.compile(
    r"connect call failed|connection refused"
    r"|connection (?:was |is |has been )?(?:closed|reset|lost|terminated|released)|cannot connect"
    r"|could not connect|connection failed|too many (?:clients|connections)"
    r"|terminating connection|server closed|the database system is"
    r"|unable to open database|disk i/o error|disk is full"
    r"|readonly database|pool (?:is )?(?:closing|closed|exhausted)|connection does not exist",
    re.IGNORECASE,
)
_CONTENTION = re.compile(
    r"deadlock detected|could not serialize|database (?:table )?is locked", re.IGNORECASE
)
_TOO_LONG_FOR_INDEX = re.compile(
    r"index row (?:size|requires)|index row size \d+ exceeds", re.IGNORECASE
)
_REFERENCE = re.compile(r"foreign key constraint", re.IGNORECASE)
_RULE = re.compile(
    r"(?:check|not[- ]null) constraint|(?:value|integer) out of range|out of range for type"
    r"|numeric field overflow",
    re.IGNORECASE,
)


class DataFlowFailureError(Exception):
    """A node reported a failure in its result, or a row that can't be read."""


@contextmanager
def translate_failures(model: Model, *, storing: bool = False) -> Iterator[None]:
    """Turns whatever DataFlow and the drivers raise into the server's own errors.

    Args:
        model: Whose records are read or written.
        storing: Whether a write's commit is on its way: when the connection is lost meanwhile,
            nobody knows whether it was stored.

    Raises:
        ConflictError: A unique key is taken, or a reference would be broken.
        InvalidArgumentsError: A value breaks a rule of the database.
        UnavailableError: The database doesn't answer or is busy; worth a retry.
        InternalError: Anything else; the log has the cause.
    """
    try:
        yield
    except ServerError:
        raise
    except Exception as failure:
        raise _translation(model, failure, storing=storing) from failure


def _translation(model: Model, failure: BaseException, *, storing: bool) -> ServerError:
    text = " | ".join(str(each) for each in _chain(failure))
    unique_key = _taken_fields(model, text)
    if unique_key is not None:
        return taken(model, unique_key)
    if _CONTENTION.search(text):
        return contention()
    if _TOO_LONG_FOR_INDEX.search(text):
        return too_long_for_index()
    if _REFERENCE.search(text):
        return referred_to(model)
    if _RULE.search(text):
        return value_refused()
    connection_lost = any(isinstance(each, OSError) for each in _chain(failure))
    if connection_lost or _UNAVAILABLE.search(text):
        logger.warning("The database is not available", exc_info=failure)
        return outcome_unknown() if storing else unavailable()
    logger.error("A record operation of %s failed", model.name, exc_info=failure)
    return defect()


def _chain(failure: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    current: BaseException | None = failure
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _taken_fields(model: Model, text: str) -> tuple[str, ...] | None:
    """The fields of the unique key that was violated; empty when it is not known which."""
    match = _SQLITE_UNIQUE.search(text)
    if match:
        return tuple(column.rpartition(".")[2] for column in match.group(1).split(", "))
    match = _POSTGRESQL_UNIQUE.search(text)
    if match:
        constraint = match.group(1)
        if constraint == f"{model.table}_pkey":
            return ("id",)
        return model.unique_indexes.get(constraint, ())
    return None

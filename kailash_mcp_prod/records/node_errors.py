"""What a failure below DataFlow means to the caller; nothing it says is passed on."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager

from kailash_mcp_prod.errors import (
    ConflictError,
    InternalError,
    InvalidArgumentsError,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.records.model import Model

logger = logging.getLogger(__name__)

_SQLITE_UNIQUE = re.compile(r"UNIQUE constraint failed: ([\w.]+(?:, [\w.]+)*)")
_POSTGRESQL_UNIQUE = re.compile(r'unique constraint "?([\w]+)"?')
_UNAVAILABLE = re.compile(
    r"connect call failed|connection refused"
    r"|connection (?:was |is |has been )?(?:closed|reset|lost|terminated)|cannot connect"
    r"|could not connect|connection failed|too many (?:clients|connections)"
    r"|terminating connection|server closed|the database system is"
    r"|unable to open database|disk i/o error|disk is full"
    r"|readonly database|pool (?:is )?(?:closing|closed|exhausted)|connection does not exist",
    re.IGNORECASE,
)


_CONTENTION = re.compile(
    r"deadlock detected|could not serialize|database (?:table )?is locked", re.I
)
_TOO_LONG_FOR_INDEX = re.compile(r"index row (?:size|requires)|index row size \d+ exceeds", re.I)


class ContentionError(UnavailableError):
    """Another writer was in the way; the same work may succeed at once."""


class DataFlowFailureError(Exception):
    """A node reported a failure in its result, or a row that can't be read."""


@contextmanager
def translate_failures(model: Model) -> Iterator[None]:
    """Turns whatever DataFlow and the drivers raise into the server's own errors.

    Raises:
        ConflictError: A unique key is taken.
        UnavailableError: The database doesn't answer or is busy; worth a retry.
        InternalError: Anything else; the log has the cause.
    """
    try:
        yield
    except ServerError:
        raise
    except Exception as failure:
        raise _translation(model, failure) from failure


def _translation(model: Model, failure: BaseException) -> ServerError:
    text = " | ".join(str(each) for each in _chain(failure))
    taken = _taken_fields(model, text)
    if taken is not None:
        return _conflict(model, taken)
    if _CONTENTION.search(text):
        return ContentionError(
            "Other calls are changing the same records. Nothing was changed. Try again.",
            retry_after_seconds=1,
        )
    if _TOO_LONG_FOR_INDEX.search(text):
        return InvalidArgumentsError(
            "data: a text is too long for a field that is indexed. Use a shorter one.", field="data"
        )
    connection_lost = any(isinstance(each, OSError) for each in _chain(failure))
    if connection_lost or _UNAVAILABLE.search(text):
        logger.warning("The database is not available", exc_info=failure)
        return UnavailableError(
            "The database does not answer at present. Nothing was changed. Try again.",
            retry_after_seconds=1,
        )
    logger.error("A record operation of %s failed", model.name, exc_info=failure)
    return InternalError("The server could not do this. Report the request id to its operator.")


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


def _conflict(model: Model, fields: tuple[str, ...]) -> ConflictError:
    named = " and ".join(fields) or "a unique field"
    return ConflictError(
        f"Another {model.name} has the same {named}. Change that record instead, or use another "
        "value. Nothing was changed.",
        field=f"data.{fields[0]}" if fields else None,
        details={"unique_key": list(fields)} if fields else None,
    )

"""What every store of records answers when it can't do what was asked, in the same words."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kailash_mcp_prod.errors import (
    BusyError,
    ConflictError,
    ForbiddenError,
    InternalError,
    InvalidArgumentsError,
    NotFoundError,
    UnavailableError,
)
from kailash_mcp_prod.records.arguments import MAX_BULK_ROWS
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.store import MAX_PAGE_BYTES


class ContentionError(BusyError):
    """Another writer was in the way; the same work may succeed at once."""


def missing(model: Model, key: Any) -> NotFoundError:
    """There is no record with that key in the caller's scope."""
    shown = model.key.type.to_json(key)
    return NotFoundError(
        f"There is no {model.name} with the id {shown!r}. Find ids with {model.name}_list. "
        "Nothing was changed.",
        field="id",
        details={"id": shown},
    )


def taken(model: Model, unique_key: tuple[str, ...]) -> ConflictError:
    """Another record has the same unique key; without fields it is not known which.

    Fields that the model hides, such as the tenant's, are not named.
    """
    fields = [name for name in unique_key if model.field(name) is not None]
    named = " and ".join(fields) or "value in a unique field"
    # Who looks for a deleted record does not find it.
    hint = ", perhaps a deleted one" if model.soft_delete else ""
    return ConflictError(
        f"Another {model.name} has the same {named}{hint}. Change that record instead, or use "
        "another value. Nothing was changed.",
        field=f"data.{fields[0]}" if fields else None,
        details={"unique_key": fields} if fields else None,
    )


def check_expected(model: Model, current: Mapping[str, Any], expected: Mapping[str, Any]) -> None:
    """Refuses to change a record that another writer has changed.

    Args:
        model: The model.
        current: The stored row in Python form; it has at least the expected fields.
        expected: What the caller believes that it holds, in Python form.

    Raises:
        ConflictError: It holds something else; the details name the fields.
    """
    differing = [name for name, value in expected.items() if current[name] != value]
    if differing:
        raise ConflictError(
            f"The {model.name} no longer holds the expected {', '.join(differing)}. Read it again "
            "and decide anew. Nothing was changed.",
            field=f"expected.{differing[0]}",
            details={"differing_fields": differing},
        )


def too_many_rows(model: Model) -> InvalidArgumentsError:
    """A filter selects more records than one call may change or delete."""
    return InvalidArgumentsError(
        f"The filter selects more than {MAX_BULK_ROWS} records of {model.name}. "
        "Narrow it and call again for the rest. Nothing was changed.",
        field="filter",
    )


def other_id(model: Model, conflict_on: tuple[str, ...]) -> ConflictError:
    """An upsert gives an id, and the record that it finds by another unique key has another one."""
    return ConflictError(
        f"The {model.name} with this {' and '.join(conflict_on)} has another id. "
        "Leave out the id or correct it. Nothing was changed.",
        field="data.id",
    )


def too_long_for_index() -> InvalidArgumentsError:
    """PostgreSQL can't index a text of this length."""
    return InvalidArgumentsError(
        "data: a text is too long for a field that is indexed. Use a shorter one.", field="data"
    )


def beyond_reach(model: Model) -> ForbiddenError:
    """A write would leave a record outside of the caller's part of the records."""
    return ForbiddenError(
        f"This would leave a {model.name} that your credential may not reach. Give the values that "
        "it may reach, or use another credential. Nothing was changed."
    )


def no_tenant(model: Model) -> ForbiddenError:
    """Nobody may reach the records of a multi-tenant model without a tenant."""
    return ForbiddenError(
        f"The records of {model.name} belong to tenants, and this credential names no tenant. "
        "Use a credential of a tenant."
    )


def referred_to(model: Model) -> ConflictError:
    """A foreign key of the database would be broken."""
    return ConflictError(
        f"This {model.name} refers to a record that does not exist, or another record refers to "
        "it. Check the ids in it, or delete what refers to it first. Nothing was changed."
    )


def value_refused(field: str | None = None) -> InvalidArgumentsError:
    """The database's own rules refuse a value, or its column can't hold it."""
    return InvalidArgumentsError(
        f"data: the database refuses the value of {field or 'a field'}, because it breaks one of "
        "its rules or does not fit the column. Nothing was changed.",
        field=f"data.{field}" if field else "data",
    )


def contention() -> ContentionError:
    """Another writer was in the way."""
    return ContentionError(
        "Other calls are changing the same records. Nothing was changed. Try again.",
        retry_after_seconds=1,
    )


def busy() -> BusyError:
    """Another process has kept a SQLite file for itself for too long to wait."""
    return BusyError(
        "Another process is writing to the database. Nothing was changed. Try again.",
        retry_after_seconds=1,
    )


def defect() -> InternalError:
    """Something that should not happen; the log has it."""
    return InternalError("The server could not do this. Report the request id to its operator.")


def unavailable() -> UnavailableError:
    """The database doesn't answer, and nothing can have been changed."""
    return UnavailableError(
        "The database does not answer at present. Nothing was changed. Try again.",
        retry_after_seconds=1,
    )


def outcome_unknown() -> UnavailableError:
    """The connection was lost while a change was being stored."""
    return UnavailableError(
        "The connection to the database was lost while the change was being stored. It is not "
        "known whether it was. Read the records before you try again.",
        details={"outcome": "unknown"},
        retry_after_seconds=1,
    )


def too_large(model: Model) -> InvalidArgumentsError:
    """One record alone is larger than a page may be."""
    return InvalidArgumentsError(
        f"One record of {model.name} has more than {MAX_PAGE_BYTES} characters. Ask for fewer of "
        "its fields with fields.",
        field="fields",
    )


def too_large_group() -> InvalidArgumentsError:
    """One group alone is larger than a page may be."""
    return InvalidArgumentsError(
        f"The texts of one group have more than {MAX_PAGE_BYTES} characters. Group by fewer or "
        "other fields, and ask for min and max of others.",
        field="group_by",
    )

"""A model as a caller sees it who may not reach all of its fields."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping
from dataclasses import replace

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError, ServerError
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.refusals import defect, taken, value_refused


def view_of(model: Model, hidden: Collection[str], fixed: Collection[str]) -> Model:
    """The model without some fields, as if it had never had them.

    Args:
        model: The model with all its fields.
        hidden: The fields that are not there; never the key.
        fixed: The fields that can't be written, because a rule sets them.
    """
    model = model.whole
    unreachable = {*hidden, *fixed}
    return replace(
        model,
        fields=tuple(
            replace(each, read_only=True, required=False) if each.name in fixed else each
            for each in model.fields
            if each.name not in hidden
        ),
        unique_keys=tuple(key for key in model.unique_keys if not unreachable & {*key}),
        unique_indexes=_without(model.unique_indexes, hidden),
        indexes=_without(model.indexes, hidden),
        base=model,
        # Without a value for it, the database would take no new record.
        creatable=all(
            each.name not in hidden or each.name in fixed or not each.required
            for each in model.writable
        ),
    )


def hidden_fields(view: Model) -> tuple[Field, ...]:
    """The fields that a view leaves out."""
    return tuple(each for each in view.whole.fields if view.field(each.name) is None)


def names_hidden(view: Model, text: str) -> bool:
    """Whether a text has the name of a field that the view leaves out."""
    names = "|".join(re.escape(each.name) for each in hidden_fields(view))
    found = names and re.search(rf"(?<![A-Za-z0-9_])(?:{names})(?![A-Za-z0-9_])", text)
    return bool(found)


def veil(error: ServerError, view: Model) -> ServerError:
    """The error as somebody may see it to whom the view's hidden fields do not exist.

    What a store says of a record may name such a field; then it is said without any names.
    """
    if not names_hidden(view, json.dumps([error.message, error.field, error.details], default=str)):
        return error
    if isinstance(error, ConflictError):
        return taken(view, ())
    return value_refused() if isinstance(error, InvalidArgumentsError) else defect()


def _without(
    indexes: Mapping[str, tuple[str, ...]], hidden: Collection[str]
) -> dict[str, tuple[str, ...]]:
    return {name: columns for name, columns in indexes.items() if not {*columns} & {*hidden}}

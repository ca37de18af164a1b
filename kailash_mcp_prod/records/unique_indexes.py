"""Makes the unique indexes that DataFlow left out, so that each unique key is kept."""

from __future__ import annotations

from collections.abc import Sequence

from kailash_mcp_prod.errors import DatabaseStartupError, ServerError
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.model import Model


async def ensure_unique_indexes(session: DataFlowSession, models: Sequence[Model]) -> None:
    """Makes the declared unique indexes that the tables lack.

    DataFlow does not quote the columns of an index, so one on `order` or `createdBy` fails; it
    adds none for a column that is new in a table that exists. It logs either and goes on.

    Raises:
        DatabaseStartupError: An index is missing and can't be made; the message names it.
    """
    for model in models:
        for index, columns in model.unique_indexes.items():
            try:
                async with session.transaction(model) as transaction:
                    if frozenset(columns) not in await transaction.unique_keys(model):
                        await transaction.make_unique(model, index, columns)
            except ServerError as failure:
                raise DatabaseStartupError(
                    f"Model {model.name}: the unique index '{index}' is missing and can't be made. "
                    f"Look for records that have the same {' and '.join(columns)}."
                ) from failure

"""The sample rows of an application, for a start in development mode."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from kailash_mcp_prod.errors import DatabaseStartupError, ServerError
from kailash_mcp_prod.models_loader import load_sample_rows
from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.query import EVERYTHING
from kailash_mcp_prod.records.store import RecordStore


async def load_sample_rows_of(
    application: str, models: Iterable[Model], stores: Mapping[str, RecordStore]
) -> frozenset[str]:
    """Fills empty tables with the application's sample rows, through its own record tools.

    Args:
        application: Where the DataFlow instance is, as `module:attribute`.
        models: Its models.
        stores: The store of each, by name.

    Returns:
        The models for which there are such rows.
    """
    known = {model.name: model for model in models}
    samples = {
        name: rows for name, rows in load_sample_rows(application).items() if rows and name in known
    }
    for name, rows in samples.items():
        model = known[name]
        if await stores[name].count(model, EVERYTHING):
            continue
        try:
            await RecordOperation(stores[name], model, Operation.BULK_CREATE)({"data": list(rows)})
        except ServerError as refused:
            raise DatabaseStartupError(
                f"The sample rows of {name} can't be stored: {refused.message}"
            ) from None
    return frozenset(samples)

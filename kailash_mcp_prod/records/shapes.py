"""Rows as the JSON objects of results, by functions that are chosen once per model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.types import Encoder, json_encoder


class RecordShape:
    """Shapes rows into records; values that are JSON already are passed on as they are.

    Args:
        encoders: The fields to show, in order, and what makes their JSON form, if anything.

    Example:
        `shape_of(company).only(["id"]).record({"id": "c1", "name": "Acme"})` gives
        `{"id": "c1"}`.
    """

    def __init__(self, encoders: Mapping[str, Encoder | None]) -> None:
        self._encoders = encoders
        self._changing = [(name, encode) for name, encode in encoders.items() if encode]

    def record(self, row: Row) -> dict[str, Any]:
        """The row, which holds all these fields, in JSON form."""
        record = {name: row[name] for name in self._encoders}
        for name, encode in self._changing:
            value = record[name]
            if value is not None:
                record[name] = encode(value)
        return record

    def only(self, names: Iterable[str]) -> RecordShape:
        """The same with these fields only, in this order."""
        return RecordShape({name: self._encoders[name] for name in names})


def shape_of(model: Model) -> RecordShape:
    """The shape with all fields of a model."""
    return RecordShape({each.name: json_encoder(each.type) for each in model.fields})

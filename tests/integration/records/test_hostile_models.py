"""A model whose names would have to be escaped is not served."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from dataflow import DataFlow

from kailash_mcp_prod.errors import ModelError
from kailash_mcp_prod.records.introspect import describe_model


@pytest.fixture
def unopened() -> Iterator[DataFlow]:
    """A DataFlow instance to register models with; its database is never opened."""
    db = DataFlow(
        "sqlite:////nowhere/unopened.db",
        pool_size=20,
        enable_caching=False,
        enable_model_persistence=False,
    )
    yield db
    db.close()


IDENTIFIERS = [
    'a"b',
    "a'b",
    "a%b",
    "a:b",
    "a$b",
    "a?b",
    "a;b",
    "a b",
    "a.b",
    "a--b",
    "a\\b",
    "ä",
    "{}",
]


@pytest.mark.parametrize("identifier", IDENTIFIERS)
@pytest.mark.parametrize("what", ["field", "table", "index"])
def test_a_model_whose_names_would_have_to_be_escaped_is_not_served(
    unopened: DataFlow, what: str, identifier: str
) -> None:
    index = identifier if what == "index" else "uq_probe"
    members: dict[str, Any] = {
        "__annotations__": {"id": str, "name": str},
        "__dataflow__": {"indexes": [{"name": index, "fields": ["name"], "unique": True}]},
    }
    if what == "field":
        members["__annotations__"][identifier] = str
    if what == "table":
        members["__tablename__"] = identifier

    def serve() -> None:
        unopened.model(type("Probe", (), members))
        describe_model(unopened, "Probe")

    with pytest.raises((ModelError, ValueError), match=r"Probe|identifier"):
        serve()

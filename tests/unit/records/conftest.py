"""The trap models as introspection describes them; no database is opened."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dataflow import DataFlow

from kailash_mcp_prod.records.introspect import describe_models
from kailash_mcp_prod.records.model import Model
from tests.integration.records.trap_models import APPEND_ONLY_MODELS, PLAIN_MODELS


@pytest.fixture(scope="session")
def dataflow() -> Iterator[DataFlow]:
    """A DataFlow instance to register models with; its database is never opened."""
    db = DataFlow(
        "sqlite:////nowhere/unopened.db",
        pool_size=20,
        enable_caching=False,
        enable_model_persistence=False,
    )
    yield db
    db.close()


@pytest.fixture(scope="session")
def traps() -> Iterator[dict[str, Model]]:
    """The trap models by name."""
    db = DataFlow(
        "sqlite:////nowhere/unopened.db",
        pool_size=20,
        enable_caching=False,
        enable_model_persistence=False,
    )
    for model in PLAIN_MODELS:
        db.model(model)
    for model in APPEND_ONLY_MODELS:
        db.model(append_only=True)(model)
    yield {model.name: model for model in describe_models(db)}
    db.close()

"""The record tools of the reference application; nothing here opens its database."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.introspect import describe_models
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_store import NodeStore
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.registry import ToolRegistry


@dataclass(frozen=True)
class Reference:
    """The models of the reference application and a store over its database."""

    models: tuple[Model, ...]
    store: NodeStore

    def registry(self, *operations: Operation) -> ToolRegistry:
        """The tools with these operations; without any, with those on by default."""
        found = (
            DataFlowToolDiscovery(self.store, operations)
            if operations
            else DataFlowToolDiscovery(self.store)
        )
        registry = ToolRegistry()
        for model in self.models:
            registry.add(found.tools_of(model))
        return registry


@pytest.fixture(scope="session")
def reference() -> Reference:
    from models import db

    return Reference(describe_models(db), NodeStore(DataFlowSession(db)))

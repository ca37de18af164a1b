"""The record tools of the reference application; nothing here opens its database."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.introspect import describe_models
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_store import NodeStore
from kailash_mcp_prod.records.operations import DEFAULT_OPERATIONS, Operation
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.models_info import models_info_tool
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolSpec


@dataclass(frozen=True)
class Reference:
    """The models of the reference application and a store over its database."""

    models: tuple[Model, ...]
    store: NodeStore
    made: dict[tuple[Operation, ...], list[ToolSpec]] = field(default_factory=dict)

    def registry(self, *operations: Operation) -> ToolRegistry:
        """The tools with these operations; without any, with those on by default."""
        if operations not in self.made:
            found = DataFlowToolDiscovery(self.store, operations or DEFAULT_OPERATIONS)
            self.made[operations] = [tool for each in self.models for tool in found.tools_of(each)]
        registry = ToolRegistry()
        registry.add(self.made[operations])
        return registry

    def service(self, *operations: Operation) -> ToolService:
        """All tools of the application behind a service."""
        registry = self.registry(*operations)
        by_sql = Execution("sql", "sample")
        registry.add([models_info_tool(registry, Policy(), lambda: self.models, lambda _: by_sql)])
        return ToolService(
            registry,
            Policy(),
            RateLimit(1_000_000),
            ConcurrencyLimit(100),
            Breakers(5, 30),
            timeout_seconds=30,
        )


@pytest.fixture(scope="session")
def reference() -> Reference:
    from models import db

    return Reference(describe_models(db), NodeStore(DataFlowSession(db)))

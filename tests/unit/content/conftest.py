"""The content of the reference application; nothing here opens its database."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.content.catalogue import Catalogue
from kailash_mcp_prod.content.completion import DataCompletion
from kailash_mcp_prod.content.prompts import DataPrompts
from kailash_mcp_prod.content.resources import DataResources
from kailash_mcp_prod.records.dataflow_session import DataFlowSession
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.introspect import describe_models
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.node_store import NodeStore
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.models_info import models_info_tool
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolSpec
from tests.unit.tools.sample_tools import service_of

ALL = Principal("all", frozenset({"*"}))
NOBODY = Principal("nobody", frozenset())


def grants(*permissions: str) -> Principal:
    return Principal("some", frozenset(permissions))


@dataclass
class Content:
    """The hosts over some models, with the state of health that a test wants."""

    service: ToolService
    models: list[Model]
    health: dict[str, Any] = field(default_factory=lambda: {"health_status": "healthy"})

    def __post_init__(self) -> None:
        self.catalogue = Catalogue(self.service, lambda: self.models)
        self.resources = DataResources(self.service, self.catalogue, self.state)
        self.prompts = DataPrompts(self.service, self.catalogue, self.resources)
        self.completion = DataCompletion(self.service, self.catalogue, self.resources, self.prompts)

    async def state(self) -> dict[str, Any]:
        return self.health

    async def text(self, name: str, principal: Principal = ALL, **arguments: str) -> str:
        """The text of a prompt."""
        prompt = await self.prompts.get_prompt(principal, name, arguments, request_id="r1")
        text: str = prompt["messages"][0]["content"]["text"]
        return text


def content_of(models: Iterable[Model], tools: Iterable[ToolSpec], **limits: Any) -> Content:
    """The content over record tools of some models."""
    models = list(models)
    service = service_of(*tools, **limits)
    execution = Execution("sql", "As the test wants.")
    info = models_info_tool(service.registry, Policy(), lambda: models, lambda _name: execution)
    service.registry.add([info])
    service.mark_ready()
    return Content(service, models)


@dataclass(frozen=True)
class Reference:
    """The models of the reference application and their tools, which take a while to make."""

    models: tuple[Model, ...]
    tools: list[ToolSpec]

    def content(self, **limits: Any) -> Content:
        return content_of(self.models, self.tools, **limits)


@pytest.fixture(scope="session")
def discovery() -> DataFlowToolDiscovery:
    from models import db

    return DataFlowToolDiscovery(NodeStore(DataFlowSession(db)))


@pytest.fixture(scope="session")
def reference(discovery: DataFlowToolDiscovery) -> Reference:
    from models import db

    models = describe_models(db)
    return Reference(models, [tool for model in models for tool in discovery.tools_of(model)])


@pytest.fixture
def content(reference: Reference) -> Content:
    return reference.content()

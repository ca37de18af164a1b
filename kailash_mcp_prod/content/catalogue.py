"""The models as one principal may use them; resources, prompts and completion all ask here."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.records.model import Field, Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.models_info import NAME as MODELS_INFO
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolSpec


@dataclass(frozen=True, slots=True)
class UsableModel:
    """A model and those of its tools that a principal may call, in order."""

    model: Model
    tools: list[ToolSpec] = field(default_factory=list)

    def tool(self, operation: Operation) -> str | None:
        """The name of the tool for an operation, if the principal may call it."""
        return next((each.name for each in self.tools if each.operation == operation), None)

    def fields(self, *names: str) -> list[Field]:
        """Those of the named fields that the model has, in the order of the names."""
        return [found for name in names if (found := self.model.field(name)) is not None]


UsableModels = dict[str, UsableModel]


class Catalogue:
    """Knows what a principal may use of the models.

    Args:
        service: The tools.
        models: The models that are served.

    Example:
        `catalogue.usable(principal)["Company"].tool(Operation.LIST)` gives `Company_list`.
    """

    def __init__(self, service: ToolService, models: Callable[[], Iterable[Model]]) -> None:
        self._service = service
        self._models = models

    def usable(self, principal: Principal) -> UsableModels:
        """The models of which the principal may call at least one tool, by name and in order."""
        found = {
            model.name: UsableModel(self._service.visibility.model(principal, model))
            for model in self._models()
        }
        for tool in self._service.visible(principal):
            # A tool for everybody grants nothing: `get_dataflow_models_info` counts alike.
            if tool.permissions and tool.group in found:
                found[tool.group].tools.append(tool)
        return {name: each for name, each in found.items() if each.tools}

    def model(self, name: str) -> Model | None:
        """A served model by its name, whoever may use it."""
        return next((model for model in self._models() if model.name == name), None)

    def describes(self, principal: Principal) -> bool:
        """Whether the principal may call the tool that describes the models."""
        tool = self._service.registry.get(MODELS_INFO)
        return tool is not None and self._service.allows(principal, tool)

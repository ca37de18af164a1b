"""What a surface is, and the plain one: the tools of the registry."""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec
from kailash_mcp_prod.tools.visibility import Visibility


class Resolved(msgspec.Struct, frozen=True):
    """What a call on a surface comes to: a tool and the call of it.

    `below` is the argument of the surface's tool in which the arguments stand, if they do not
    stand at its top.
    """

    tool: ToolSpec
    call: ToolCall
    below: str | None = None


class Surface(Protocol):
    """A view of the registry: which tools are listed, and what a call of one comes to.

    Both depend on the policy and the registry only, never on earlier calls.
    """

    def listed(self, principal: Principal, *, complete: bool) -> list[dict[str, Any]]:
        """The tools as MCP `Tool` objects, in order; see `ToolSpec.to_mcp` for `complete`."""

    def resolve(self, call: ToolCall, name: str) -> Resolved | None:
        """The tool that a call runs; `None` when no tool of that name is listed.

        Raises:
            ServerError: The arguments name no tool that the caller may call.
        """


class FullSurface:
    """The tools that a principal may call, as it sees them.

    Args:
        registry: The tools.
        policy: Which of them a principal may call.
        models: Leaves out the record tools of all other models.
    """

    def __init__(
        self, registry: ToolRegistry, policy: Policy, models: frozenset[str] | None = None
    ) -> None:
        self._registry = registry
        self._visibility = Visibility(policy)
        self._models = models

    def tools(self, principal: Principal) -> list[ToolSpec]:
        """The tools that the principal may call, in order."""
        seen = (self._seen(principal, tool) for tool in self._registry)
        return [tool for tool in seen if tool is not None]

    def find(self, principal: Principal, name: str) -> ToolSpec | None:
        """The tool of that name, if the principal may call it."""
        tool = self._registry.get(name)
        return None if tool is None else self._seen(principal, tool)

    def listed(self, principal: Principal, *, complete: bool) -> list[dict[str, Any]]:
        """See `Surface.listed`."""
        return [tool.to_mcp(complete=complete) for tool in self.tools(principal)]

    def resolve(self, call: ToolCall, name: str) -> Resolved | None:
        """See `Surface.resolve`."""
        tool = self.find(call.principal, name)
        return None if tool is None else Resolved(tool, call)

    def _seen(self, principal: Principal, tool: ToolSpec) -> ToolSpec | None:
        if self._models is not None and tool.operation and tool.group not in self._models:
            return None
        return self._visibility.tool(principal, tool)

"""`call_tool`: calls any registered tool by its name, on surfaces that do not list it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired

from annotated_types import MaxLen
from msgspec.structs import replace
from pydantic import ConfigDict, Field, Strict
from typing_extensions import TypedDict

from kailash_mcp_prod.records.forms import Form, FormError
from kailash_mcp_prod.records.problems import describe_findings
from kailash_mcp_prod.tools.spec import Hints, ToolCall
from kailash_mcp_prod.tools.surfaces.base import FullSurface, Resolved
from kailash_mcp_prod.tools.surfaces.unknown import no_such_tool

CALL_TOOL = "call_tool"


class _Arguments(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    name: Annotated[str, Strict(), MaxLen(255), Field(description="The name of the tool.")]
    arguments: NotRequired[
        Annotated[dict[str, Any], Strict(), Field(description="As the tool's own schema says.")]
    ]


class AnyTool:
    """The tool `call_tool` over the tools that a principal may call.

    Args:
        tools: These tools.
        description: What the surface says of it.
        fix: Where the surface has the names of tools.
    """

    def __init__(self, tools: FullSurface, description: str, fix: str) -> None:
        self._tools = tools
        self._fix = fix
        self._form = Form(_Arguments)
        self.listed: Mapping[str, Any] = {
            "name": CALL_TOOL,
            "title": "Call any tool",
            "description": description,
            "inputSchema": self._form.schema(),
            # Of the worst that it may call.
            "annotations": Hints(read_only=False, destructive=True, idempotent=False).to_mcp(
                complete=False
            ),
        }

    def resolve(self, call: ToolCall) -> Resolved:
        """The tool that the arguments name, with its arguments.

        Raises:
            InvalidArgumentsError: `name` or `arguments` is missing or wrong.
            NotFoundError: There is no such tool that the caller may call.
        """
        try:
            checked = self._form.check(call.arguments)
        except FormError as error:
            raise describe_findings(error.found, known=["name", "arguments"]) from None
        tool = self._tools.find(call.principal, checked["name"])
        if tool is None:
            names = [each.name for each in self._tools.tools(call.principal)]
            raise no_such_tool(checked["name"], names, "name", self._fix)
        return Resolved(
            tool, replace(call, arguments=checked.get("arguments", {})), below="arguments"
        )

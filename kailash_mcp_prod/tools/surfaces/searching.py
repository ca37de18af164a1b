"""The surface `search`: find tools, describe them, call them."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import replace
from typing import Annotated, Any, NotRequired

from annotated_types import Ge, Le, MaxLen, MinLen
from pydantic import ConfigDict, Field, Strict
from typing_extensions import TypedDict

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.bounded import BoundedMemo
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.records.forms import Form, FormError
from kailash_mcp_prod.records.problems import describe_findings
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.search.index import ToolIndex
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec
from kailash_mcp_prod.tools.surfaces.any_tool import CALL_TOOL, AnyTool
from kailash_mcp_prod.tools.surfaces.base import FullSurface, Resolved
from kailash_mcp_prod.tools.surfaces.unknown import no_such_tool
from kailash_mcp_prod.tools.visibility import Visibility

SEARCH_TOOLS = "search_tools"
DESCRIBE_TOOL = "describe_tool"
DEFAULT_LIMIT = 5
MAX_LIMIT = 20
MAX_DESCRIBED = 10

_MAX_PRINCIPALS = 256
_MAX_INDEXES = 16
_EVERYTHING = frozenset({"*"})
_READING = Hints(read_only=True, destructive=False, idempotent=True)
_TEXT = {"type": "string"}
_FIX = f"Find names with {SEARCH_TOOLS}."


class _Search(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    query: Annotated[
        str,
        Strict(),
        MinLen(1),
        MaxLen(1_000),
        Field(description="What you want to do, e.g. 'find customers by city'."),
    ]
    limit: NotRequired[
        Annotated[int, Strict(), Ge(1), Le(MAX_LIMIT), Field(json_schema_extra={"default": 5})]
    ]


_Name = Annotated[str, Strict(), MaxLen(255)]


class _Describe(TypedDict):
    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    name: NotRequired[Annotated[_Name, Field(description="One tool.")]]
    names: NotRequired[
        Annotated[
            list[_Name],
            Strict(),
            MinLen(1),
            MaxLen(MAX_DESCRIBED),
            Field(description="Or several."),
        ]
    ]


class SearchSurface:
    """Three tools that reach all others.

    Args:
        registry: The tools.
        policy: Which of them a principal may call, and so may find.
    """

    def __init__(self, registry: ToolRegistry, policy: Policy) -> None:
        self._registry = registry
        self._tools = FullSurface(registry, policy)
        self._visibility = Visibility(policy)
        # What is hidden from a principal must not even change the order of what it finds.
        self._indexes = BoundedMemo[Hashable, asyncio.Task[ToolIndex]](_MAX_INDEXES)
        self._visible = BoundedMemo[Hashable, frozenset[str]](_MAX_PRINCIPALS)
        self._search_form = Form(_Search)
        self._describe_form = Form(_Describe)
        self._call_any = AnyTool(
            self._tools,
            f"Calls a tool that {SEARCH_TOOLS} has found. {DESCRIBE_TOOL} says what it takes.",
            _FIX,
        )
        self._own = {
            SEARCH_TOOLS: ToolSpec(
                name=SEARCH_TOOLS,
                title="Search for tools",
                description=(
                    "Finds the tools for a task, best first. Records have tools named "
                    "Model_operation; describe in your words what to do with which records."
                ),
                input_schema=self._search_form.schema(),
                output_schema=_FOUND,
                hints=_READING,
                permissions=(),
                group="search",
                handler=self._search,
            ),
            DESCRIBE_TOOL: ToolSpec(
                name=DESCRIBE_TOOL,
                title="Describe tools",
                description=(
                    "Returns the exact schema of a tool's arguments, with an example. "
                    f"Up to {MAX_DESCRIBED} tools at once."
                ),
                input_schema=self._describe_form.schema(),
                output_schema=_DESCRIBED,
                hints=_READING,
                permissions=(),
                group="search",
                handler=self._describe,
            ),
        }

    def refresh(self) -> None:
        """Notices that the registry has changed."""
        self._indexes.clear()
        self._visible.clear()

    def listed(self, principal: Principal, *, complete: bool) -> list[dict[str, Any]]:  # noqa: ARG002 - the same for all
        """See `Surface.listed`."""
        own = [tool.to_mcp(complete=complete) for tool in self._own.values()]
        return [*own, dict(self._call_any.listed)]

    def resolve(self, call: ToolCall, name: str) -> Resolved | None:
        """See `Surface.resolve`."""
        if name == CALL_TOOL:
            return self._call_any.resolve(call)
        tool = self._own.get(name)
        return None if tool is None else Resolved(tool, call)

    async def _search(self, call: ToolCall) -> dict[str, Any]:
        try:
            asked = self._search_form.check(call.arguments)
        except FormError as error:
            raise describe_findings(error.found, known=["query", "limit"]) from None
        index = await self._index(call.principal)
        visible = self._visible.get(
            self._visibility.kind(call.principal),
            lambda: frozenset(tool.name for tool in self._tools.tools(call.principal)),
        )
        found = index.search(asked["query"], asked.get("limit", DEFAULT_LIMIT), visible)
        tools = [
            {"name": name, "description": _first_line(tool)}
            for name, _score in found
            if (tool := self._tools.find(call.principal, name)) is not None
        ]
        return {"tools": tools, "count": len(tools)}

    async def _index(self, principal: Principal) -> ToolIndex:
        """The index of all tools, as the principal would see them with every permission."""
        making = self._indexes.get(
            self._visibility.outlook(principal), lambda: asyncio.create_task(self._make(principal))
        )
        # Whoever began it may leave, and others wait for it too.
        return await asyncio.shield(making)

    async def _make(self, principal: Principal) -> ToolIndex:
        everything = replace(principal, permissions=_EVERYTHING)
        tools = self._tools.tools(everything)
        # In a thread, because that takes a while.
        return await asyncio.to_thread(ToolIndex, tools)

    async def _describe(self, call: ToolCall) -> dict[str, Any]:
        try:
            asked = self._describe_form.check(call.arguments)
        except FormError as error:
            raise describe_findings(error.found, known=["name", "names"]) from None
        if len(asked) != 1:
            raise InvalidArgumentsError("name: give either name or names.", field="name")
        if "name" in asked:
            return {"tools": [self._described(call.principal, asked["name"], "name")]}
        return {
            "tools": [
                self._described(call.principal, name, f"names[{position}]")
                for position, name in enumerate(asked["names"])
            ]
        }

    def _described(self, principal: Principal, name: str, field: str) -> dict[str, Any]:
        tool = self._tools.find(principal, name)
        if tool is None:
            names = [each.name for each in self._tools.tools(principal)]
            raise no_such_tool(name, names, field, _FIX)
        described = tool.to_mcp(complete=True)
        del described["outputSchema"]
        return described


def _first_line(tool: ToolSpec) -> str:
    return tool.description.partition("\n")[0]


def _tools_of(**members: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "array",
        "items": {"type": "object", "properties": members, "required": list(members)},
    }


_FOUND = {
    "type": "object",
    "properties": {
        "tools": _tools_of(name=_TEXT, description=_TEXT),
        "count": {"type": "integer", "minimum": 0},
    },
    "required": ["tools", "count"],
    "additionalProperties": False,
}
_DESCRIBED = {
    "type": "object",
    "properties": {
        "tools": _tools_of(
            name=_TEXT,
            title=_TEXT,
            description=_TEXT,
            inputSchema={"type": "object"},
            annotations={"type": "object"},
        )
    },
    "required": ["tools"],
    "additionalProperties": False,
}

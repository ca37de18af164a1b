"""The tools as the dashboard shows them: found by words, described in full, and tried out."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable, Mapping
from typing import Any, Final

import msgspec

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.bounded import BoundedMemo
from kailash_mcp_prod.errors import ConflictError, UnknownToolError
from kailash_mcp_prod.tools.search.index import ToolIndex
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolSpec
from kailash_mcp_prod.tools.surfaces.names import FULL

CHARACTERS_PER_TOKEN: Final = 4
MAX_QUERY: Final = 200

_MOST_INDEXES: Final = 16
_MOST_FOUND: Final = 50


class ShownTools:
    """The tools that a principal may call.

    Args:
        service: The tools.
        policy: Who may call which.
    """

    def __init__(self, service: ToolService, policy: Policy) -> None:
        self._service = service
        self._policy = policy
        self._indexes = BoundedMemo[Hashable, asyncio.Task[ToolIndex]](_MOST_INDEXES)
        self._costs = BoundedMemo[tuple[Hashable, str], tuple[int, int]](4096)
        service.registry.subscribe(self._forget)

    def _forget(self) -> None:
        self._indexes.clear()
        self._costs.clear()

    async def find(self, principal: Principal, query: str = "") -> list[dict[str, Any]]:
        """The tools, those first that fit a question best; all without one."""
        tools = self._service.visible(principal)
        if query.strip():
            names = await self._matching(principal, tools, query)
            by_name = {tool.name: tool for tool in tools}
            tools = [by_name[name] for name in names if name in by_name]
        kind = self._service.visibility.kind(principal)
        return [self._line(kind, tool) for tool in tools]

    def describe(self, principal: Principal, name: str) -> dict[str, Any]:
        """One tool with its exact schemas.

        Raises:
            UnknownToolError: There is none that the principal may call.
        """
        tool = self._find(principal, name)
        kind = self._service.visibility.kind(principal)
        return {
            **self._line(kind, tool),
            "description": tool.description,
            "permissions": list(tool.permissions),
            "backend": tool.backend,
            "input_schema": tool.input_schema,
            "output_schema": tool.output_schema,
        }

    async def call(
        self,
        principal: Principal,
        name: str,
        arguments: dict[str, Any],
        *,
        confirmed: bool,
        request_id: str,
    ) -> dict[str, Any]:
        """Calls a tool as the principal, as it would over REST.

        Raises:
            ConflictError: It changes or removes what is there, and that was not confirmed.
            ServerError: See `ToolService.call`.
        """
        tool = self._find(principal, name)
        if tool.hints.destructive and not tool.read_only and not confirmed:
            raise ConflictError(
                f"confirmed: {name} changes or removes what is there. Confirm that you mean it. "
                "Nothing was done.",
                field="confirmed",
            )
        return await self._service.call(
            principal, name, arguments, request_id=request_id, surface=FULL
        )

    def _find(self, principal: Principal, name: str) -> ToolSpec:
        for tool in self._service.visible(principal):
            if tool.name == name:
                return tool
        raise UnknownToolError("There is no tool of this name that you may call.", field="name")

    def _line(self, kind: Hashable, tool: ToolSpec) -> dict[str, Any]:
        listed, full = self._costs.get((kind, tool.name), lambda: _costs(tool))
        return {
            "name": tool.name,
            "title": tool.title,
            "summary": tool.description.partition("\n")[0],
            "group": tool.group,
            "operation": tool.operation,
            "read_only": tool.hints.read_only,
            "destructive": tool.hints.destructive and not tool.hints.read_only,
            "idempotent": tool.hints.idempotent,
            "tokens_listed": listed,
            "tokens_described": full,
        }

    async def _matching(self, principal: Principal, tools: list[ToolSpec], query: str) -> list[str]:
        """The names of tools that hold the letters, as one types them, and then by the question."""
        typed = query.strip().casefold()
        named = [
            tool.name
            for tool in tools
            if typed in tool.name.casefold() or typed in tool.title.casefold()
        ]
        index = await asyncio.shield(
            self._indexes.get(
                self._service.visibility.kind(principal),
                # In a thread, because that takes a while.
                lambda: asyncio.create_task(asyncio.to_thread(ToolIndex, tools)),
            )
        )
        found = index.search(query[:MAX_QUERY], _MOST_FOUND)
        return list(dict.fromkeys([*named, *(name for name, _ in found)]))


def _costs(tool: ToolSpec) -> tuple[int, int]:
    """The tokens of a tool in a list, and described in full, at four characters each."""
    return _tokens(tool.to_mcp(complete=False)), _tokens(tool.to_mcp(complete=True))


def _tokens(shown: Mapping[str, Any]) -> int:
    characters = len(msgspec.json.encode(shown).decode())
    return -(-characters // CHARACTERS_PER_TOKEN)

"""Which calls are answered from the cache: those of record tools that read."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import Any

import msgspec

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.guard.cache import ReadCache
from kailash_mcp_prod.guard.canonical import canonical
from kailash_mcp_prod.records.effects import Effects
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

Fingerprint = Callable[[Principal], bytes]
"""Bytes that are the same only for principals that see the same records and fields."""


def fingerprint_by_grants(principal: Principal) -> bytes:
    """The fingerprint where permissions and tenant alone decide what is seen."""
    return msgspec.json.encode([sorted(principal.permissions), principal.tenant])


class CachedReads:
    """Stands before the handlers of tools and answers for them what it knows.

    Args:
        cache: The cache.
        fingerprint: Tells callers apart by what they may see.
        excluded: Names of models of which nothing is cached.
    """

    def __init__(
        self,
        cache: ReadCache,
        *,
        fingerprint: Fingerprint = fingerprint_by_grants,
        excluded: Collection[str] = (),
    ) -> None:
        self.cache = cache
        self._fingerprint = fingerprint
        self._excluded = frozenset(excluded)
        self._tables: dict[str, str] = {}

    def serve(self, models: Iterable[Model], effects: Effects) -> None:
        """Caches reads of these models from now on.

        Args:
            models: All models that are served.
            effects: What writes of their tables change.
        """
        self.cache.changes.learn(effects.affected)
        self._tables = {
            model.name: model.table
            for model in models
            if model.name not in self._excluded
            and model.table in effects.affected
            and model.table not in effects.derived
        }

    async def run(self, tool: ToolSpec, call: ToolCall) -> dict[str, Any]:
        """What the tool's handler answers, now or a while ago.

        Raises:
            ServerError: What the handler raises.
        """
        if tool.operation is None or not tool.hints.read_only:
            return await tool.handler(call)
        table = self._tables.get(tool.group)
        arguments = None if table is None else canonical(call.arguments)
        if table is None or arguments is None:
            return await tool.handler(call)
        key = (tool.name, self._fingerprint(call.principal), arguments)
        return await self.cache.read(key, table, lambda: tool.handler(call))

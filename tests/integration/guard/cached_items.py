"""Replicas of a small application: record tools on one database, each behind a cache of its own."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from types import MappingProxyType
from typing import Any

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.rules import AccessRule
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.cache import ReadCache
from kailash_mcp_prod.guard.changes import Changes
from kailash_mcp_prod.guard.compression import Compression
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.guard.shared_values import SharedValues
from kailash_mcp_prod.guard.shared_versions import SharedVersions
from kailash_mcp_prod.records.effects import reflect_effects
from kailash_mcp_prod.records.model import Model, Row
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.query import Query
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.sql.page import SqlPage
from kailash_mcp_prod.records.sql.records import SqlRecords
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.watching import WatchedStore
from kailash_mcp_prod.tools.caching import CachedReads
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.scopes import Scopes
from kailash_mcp_prod.tools.spec import ToolCall
from tests.integration.records.sql_items import ITEM, item_store

POLICY = Policy(rules={"Item": AccessRule(rows={"label": "$claims.team"})})
DOUBT_SECONDS = 5.0
TTL_SECONDS = 50.0
SECRET = b"0123456789abcdef0123456789abcdef"


def member_of(team: str) -> Principal:
    """Somebody who sees the items with the team's label."""
    claims = MappingProxyType({"team": team})
    return Principal(subject=f"jwt:{team}", permissions=frozenset({"*"}), claims=claims)


class HesitantStore(SqlStore):
    """A store whose answers take a while to arrive, so that others overtake them.

    Args:
        store: The store that it is otherwise.
        hesitation: How many seconds the next answer takes.
    """

    def __init__(self, store: SqlStore, hesitation: Callable[[], float]) -> None:
        vars(self).update(vars(store))
        self._hesitation = hesitation

    async def read(
        self, model: Model, key: Any, scope: Scope = OPEN, fields: tuple[str, ...] | None = None
    ) -> Row:
        row = await super().read(model, key, scope, fields)
        await self._hesitate()
        return row

    async def find(self, model: Model, query: Query, scope: Scope = OPEN) -> SqlPage:
        page = await super().find(model, query, scope)
        await self._hesitate()
        return page

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlRecords]:
        async with super().transaction() as records:
            yield records
            await self._hesitate()
        await self._hesitate()

    async def _hesitate(self) -> None:
        await asyncio.sleep(self._hesitation())


class Replica:
    """One process of the application."""

    def __init__(
        self,
        store: SqlStore,
        changes: Changes,
        clock: Callable[[], float],
        values: SharedValues | None = None,
    ) -> None:
        cache = ReadCache(
            changes,
            max_bytes=20_000,
            ttl_seconds=TTL_SECONDS,
            compression=Compression(),
            values=values,
            clock=clock,
        )
        self.reads = CachedReads(cache, POLICY, values=values)
        self._breakers = Breakers(1_000, 1)
        self.model = ITEM
        self.plain_store = store
        self.store = WatchedStore(store, changes)
        discovery = DataFlowToolDiscovery(self.store, tuple(Operation), scopes=Scopes(POLICY))
        self._tools = {tool.operation: tool for tool in discovery.tools_of(ITEM)}

    async def call(self, principal: Principal, operation: str, **arguments: Any) -> dict[str, Any]:
        """Calls a record tool, through the cache if it reads."""
        call = ToolCall(principal, arguments, "r1")
        with self._breakers.around(None, operation) as passage:
            tool = self._tools[operation]
            return await self.reads.run(tool, call, passage, tool.handler)


@asynccontextmanager
async def replicas(
    url: str,
    redis_url: str | None,
    *,
    count: int = 2,
    clock: Callable[[], float],
    randomness: random.Random | None = None,
    prefix: str = "app",
    share_values: bool = False,
) -> AsyncIterator[list[Replica]]:
    """Replicas on one database and, if there is one, one Redis."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(count):
            store = await stack.enter_async_context(item_store(url))
            if randomness is not None:
                store = HesitantStore(store, lambda: randomness.choice((0, 0, 0.001, 0.003)))
            shared = values = None
            if redis_url is not None:
                redis = RedisConnection(redis_url, prefix, operation_seconds=5, probe_seconds=0.5)
                await redis.start()
                stack.push_async_callback(redis.stop)
                shared = SharedVersions(redis, writing_seconds=DOUBT_SECONDS)
                stack.push_async_callback(shared.stop)
                if share_values:
                    values = SharedValues(
                        redis, SECRET, max_bytes=10_000_000, ttl_seconds=TTL_SECONDS
                    )
            changes = Changes(shared, doubt_seconds=DOUBT_SECONDS, clock=clock)
            replica = Replica(store, changes, clock, values)
            replica.reads.serve([ITEM], await reflect_effects(url, [ITEM.table]))
            found.append(replica)
        yield found

"""Record tools whose writes take idempotency keys; as a process, one that dies in the middle.

Run with the address of the database, a key and when to die: `before` or `after` the commit.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.receipts import Receipts
from kailash_mcp_prod.records.sql.records import SqlRecords
from kailash_mcp_prod.records.sql.store import SqlStore
from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.idempotency import KeyedWrites
from kailash_mcp_prod.tools.spec import ToolCall
from tests.integration.records.sql_items import ITEM, item_store

TTL_SECONDS = 3600.0


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


class KeyedItems:
    """The tools of one replica."""

    def __init__(self, url: str, store: RecordStore, clock: Clock | None = None) -> None:
        self.receipts = Receipts(
            url, may_create=True, ttl_seconds=TTL_SECONDS, clock=clock or Clock()
        )
        keyed = KeyedWrites(self.receipts, Policy())
        discovery = DataFlowToolDiscovery(store, tuple(Operation), keyed=keyed)
        self._tools = {tool.operation: tool for tool in discovery.tools_of(ITEM)}

    async def call(
        self, key: str | None, operation: str, /, by: Principal = ANONYMOUS, **arguments: Any
    ) -> dict[str, Any]:
        call = ToolCall(by, arguments, "r1", idempotency_key=key)
        return await self._tools[operation].handler(call)


class DyingStore(SqlStore):
    """A store whose process is killed by its first transaction that does something.

    Args:
        store: The store that it is otherwise.
        when: `before` or `after` the commit.
    """

    def __init__(self, store: SqlStore, when: str) -> None:
        vars(self).update(vars(store))
        self._when = when

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[SqlRecords]:
        async with super().transaction() as records:
            yield records
            if self._when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)


async def create_and_die(url: str, key: str, when: str) -> None:
    async with item_store(url) as store:
        await KeyedItems(url, DyingStore(store, when)).call(key, "create", data={"id": "k1"})


if __name__ == "__main__":
    asyncio.run(create_and_die(*sys.argv[1:]))

"""What workflow sessions need of the application whose records they change."""

from __future__ import annotations

from typing import Protocol

from kailash_mcp_prod.records.store import RecordStore
from kailash_mcp_prod.sessions.steps_atomic import AtomicRecords


class WorkflowRecords(AtomicRecords, Protocol):
    """The stores of an application; `DataFlowApplication` is one."""

    @property
    def database_url(self) -> str | None:
        """The address of its database."""

    async def own_store(self) -> RecordStore:
        """The store in whose transactions tables of the server's own can be written."""

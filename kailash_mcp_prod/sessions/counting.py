"""How many sessions there are, counted in the database at most once a second."""

from __future__ import annotations

import asyncio
import importlib
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.state.opening import State

if TYPE_CHECKING:
    from kailash_mcp_prod.state.database import StateDatabase

_KNOWN_SECONDS: Final = 1.0
_ASKING_SECONDS: Final = 2.0


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """The sessions in the state: of agents, of how many agents, and of workflows by status."""

    active: int = 0
    agents: int = 0
    workflows: Mapping[str, int] = field(default_factory=dict)


class SessionCounter:
    """Counts; whoever asks at the same time waits for one answer.

    Args:
        state: Where the sessions are. A table that is not there is not made.
        timeout_seconds: After how long without a call an agent session has ended.
        clock: Unix seconds.
    """

    def __init__(
        self, state: State, *, timeout_seconds: float, clock: Callable[[], float] = time.time
    ) -> None:
        self._state = state
        self._timeout_seconds = timeout_seconds
        self._clock = clock
        self._asking = asyncio.Lock()
        self._known_at = -math.inf
        self._known: SessionCounts | None = None

    def start(self) -> None:
        """Begins anew, on whatever event loop asks next."""
        self._asking = asyncio.Lock()
        self._known_at = -math.inf

    async def counts(self) -> SessionCounts | None:
        """The figures of the last second; `None` when the database does not say."""
        async with self._asking:
            if time.monotonic() - self._known_at >= _KNOWN_SECONDS:
                self._known = await self._ask()
                self._known_at = time.monotonic()
            return self._known

    async def _ask(self) -> SessionCounts | None:
        try:
            async with asyncio.timeout(_ASKING_SECONDS):
                database = await self._state.database()
                await asyncio.to_thread(_import_tables)
                return await self._count(database)
        except (ServerError, TimeoutError):
            return None

    async def _count(self, database: StateDatabase) -> SessionCounts:
        from sqlalchemy import distinct, func, select

        from kailash_mcp_prod.sessions.agent_store import sessions as agents
        from kailash_mcp_prod.sessions.workflow_tables import sessions as workflows

        now = self._clock()
        active = owners = 0
        by_status: dict[str, int] = {}
        has_agents, has_workflows = await database.has([agents]), await database.has([workflows])
        if not (has_agents or has_workflows):
            return SessionCounts()
        async with database.read() as connection:
            if has_agents:
                of_agents = select(func.count(), func.count(distinct(agents.c.owner))).where(
                    agents.c.active_at > now - self._timeout_seconds
                )
                active, owners = (await connection.execute(of_agents)).one()
            if has_workflows:
                of_workflows = (
                    select(workflows.c.status, func.count())
                    .where(workflows.c.expires_at > now)
                    .group_by(workflows.c.status)
                )
                found = await connection.execute(of_workflows)
                by_status = {str(status): int(count) for status, count in found}
        return SessionCounts(active, owners, by_status)


def _import_tables() -> None:
    """Imports what takes long, so that the event loop need not wait for it."""
    for name in ("agent_store", "workflow_tables"):
        importlib.import_module(f"kailash_mcp_prod.sessions.{name}")

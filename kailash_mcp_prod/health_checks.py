"""The components of a server in its report on health: what is asked, and what is known."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.guard.redis import RedisConnection
from kailash_mcp_prod.observe.health import DEGRADED, HEALTHY, UNHEALTHY, Check, Component, Health
from kailash_mcp_prod.observe.health_host import disk, event_loop, memory
from kailash_mcp_prod.observe.loop_lag import LoopLag
from kailash_mcp_prod.observe.pool_watch import PoolWatch
from kailash_mcp_prod.records.connecting import is_postgresql, sqlite_path
from kailash_mcp_prod.state.opening import State
from kailash_mcp_prod.tools.application import DataFlowApplication
from kailash_mcp_prod.tools.caching import CachedReads
from kailash_mcp_prod.tools.health_tool import health_tool
from kailash_mcp_prod.tools.service import ToolService


class ServerHealth:
    """The health of one server.

    Args:
        application: Whose database is asked.
        state: The server's own tables.
        guard: The limits, the breakers and Redis.
        service: Knows whether the tools are there, and whether the server shuts down.
        reads: The cache; `None` where there is none.
        further: Components that are known elsewhere.
        policy: Says who may see the report.
        open_to_all: Whether nobody needs a credential here.
    """

    def __init__(
        self,
        application: DataFlowApplication,
        state: State,
        guard: Guard,
        service: ToolService,
        *,
        reads: CachedReads | None,
        further: Callable[[], Mapping[str, Component]],
        policy: Policy,
        open_to_all: bool,
    ) -> None:
        self._application = application
        self._state = state
        self._guard = guard
        self._service = service
        self._reads = reads
        self._further = further
        self._policy = policy
        self._open_to_all = open_to_all
        self.tool = health_tool(self.report)
        self._pool = PoolWatch(application.pool_usage, lambda: guard.database.waiting)
        self.lag = LoopLag(self._pool.look)
        others: dict[str, Check] = {"memory": memory, "disk": self._disk}
        if guard.redis is not None:
            others["redis"] = _asking_redis(guard.redis)
        self._health = Health(
            {"server": self._server, "database": self._database, "state": self._state_store},
            others,
            self._known,
            lambda: service.is_draining,
        )

    async def report(self) -> dict[str, Any]:
        """`health_status` and `components` with all there is to say."""
        return await self._health.report()

    async def brief(self) -> dict[str, Any]:
        """The same in words of status alone."""
        return await self._health.brief()

    async def ready(self) -> dict[str, Any]:
        """The same of what clients need."""
        return await self._health.ready()

    def shows_all(self, principal: Principal | None) -> bool:
        """Whether the principal, or whoever shows no credential, may see the report."""
        if principal is None:
            return self._open_to_all
        return self._policy.allows(principal, self.tool)

    def start(self) -> None:
        """Begins to look at the event loop."""
        self.lag.start()

    async def stop(self) -> None:
        """Ends that, and the checks that run."""
        self.lag.stop()
        await self._health.stop()

    async def _server(self) -> Component:
        if not self._service.is_ready:
            return {"status": UNHEALTHY, "reason": "The models are not loaded."}
        return {"status": HEALTHY, "tools": len(self._service.registry)}

    async def _database(self) -> Component:
        return {"status": HEALTHY if await self._application.answers() else UNHEALTHY}

    async def _state_store(self) -> Component:
        try:
            database = await self._state.database()
            if database.is_busy:
                return {"status": DEGRADED, "reason": "All its connections are in use."}
            await database.ping()
        except ServerError:
            return {"status": UNHEALTHY}
        return {"status": HEALTHY}

    async def _disk(self) -> Component | None:
        url = self._application.database_url
        if url is None or is_postgresql(url):
            return None
        return await disk(sqlite_path(url))

    def _known(self) -> Mapping[str, Component]:
        cache = {} if self._reads is None else {"cache": self._reads.health()}
        return {
            "pool": self._pool.component(),
            **cache,
            **self._guard.components(),
            **self._further(),
            "event_loop": event_loop(self.lag),
        }


def _asking_redis(redis: RedisConnection) -> Check:
    async def ask() -> Component:
        await redis.look()
        return redis.health()

    return ask

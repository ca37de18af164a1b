"""The report on health: how the server is, and each of its components."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

Components = Mapping[str, Mapping[str, Any]]


class Health:
    """Puts the components together.

    Args:
        application: The report on the application; it decides whether the server is healthy.
        components: Further ones. The server works without them, and is degraded then.
        is_draining: Whether the server is shutting down, and so wants no more clients.
    """

    def __init__(
        self,
        application: Callable[[], Awaitable[dict[str, Any]]],
        components: Callable[[], Components],
        is_draining: Callable[[], bool],
    ) -> None:
        self._application = application
        self._components = components
        self._is_draining = is_draining

    async def report(self) -> dict[str, Any]:
        """`health_status` (`healthy`, `degraded`, `unhealthy`, `draining`) and `components`."""
        report = await self._application()
        further = self._components()
        status = report["health_status"]
        if self._is_draining():
            status = "draining"
        elif status == "healthy" and any(each["status"] != "healthy" for each in further.values()):
            status = "degraded"
        return {"health_status": status, "components": {**report["components"], **further}}

"""What `status` tells of a mounted server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.auth.principal import Principal

if TYPE_CHECKING:
    from kailash_mcp_prod.nexus.server import MountedServer

_WORDS: Final = {"healthy": "ready"}


async def status_of(server: MountedServer, principal: Principal, prefix: str) -> dict[str, Any]:
    """What is mounted where, how it is, and what the caller may do with it.

    Args:
        server: The server.
        principal: Who asks; counts are of what it sees.
        prefix: Where the server is.
    """
    report = await server.health()
    health = report["health_status"]
    tools = server.service.visible(principal)
    return {
        "status": _WORDS.get(health, health),
        "components": {name: each["status"] for name, each in report["components"].items()},
        "endpoints": {
            "mcp": prefix,
            "websocket": f"{prefix}/ws",
            "status": f"{prefix}/status",
            "tools": f"{prefix}/tools",
            "execute_tool": f"{prefix}/execute-tool",
            "workflow_sessions": f"{prefix}/workflows",
            **({} if server.dashboard is None else {"dashboard": f"{prefix}/dashboard"}),
        },
        "tools": len(tools),
        "models": len({tool.group for tool in tools if tool.operation}),
        "workflows": len(server.nexus.runnable(principal)),
        "caller": {
            "subject": principal.subject,
            "method": principal.method,
            "tenant": principal.tenant,
            "roles": sorted(principal.roles),
        },
    }

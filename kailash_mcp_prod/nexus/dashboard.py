"""The dashboard below the prefix of a Nexus app.

A browser shows a cookie of ours, which the app's middlewares do not know. So its requests pass
these by, and the middlewares are asked about the credential behind the cookie instead.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Final

import msgspec

from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.errors import ForbiddenError
from kailash_mcp_prod.nexus.auth import credential_look, request_scope
from kailash_mcp_prod.protocol import new_request_id
from kailash_mcp_prod.transports.asgi import (
    JSON_TYPE,
    Receive,
    Scope,
    Send,
    path_below_root,
    respond,
)
from kailash_mcp_prod.transports.http_guard import HostGuard
from kailash_mcp_prod.transports.http_headers import Headers

PATH: Final = "dashboard"
"""Where it is below the prefix."""

Look = Callable[[Scope, Credentials], Awaitable[Scope]]
"""Asks the app's middlewares about a credential, for a request."""


class MountedDashboard:
    """An ASGI application.

    Pages of others are refused by the dashboard itself, which asks for its own origin.

    Args:
        dashboard: The dashboard.
        path: Where it is, such as `/api/mcp/dashboard`.
        guard: Knows the names of this server.
    """

    def __init__(
        self,
        dashboard: Callable[[Scope, Receive, Send], Awaitable[None]],
        path: str,
        guard: HostGuard,
    ) -> None:
        self._dashboard = dashboard
        self._path = path
        self._guard = guard

    async def serve(self, scope: Scope, receive: Receive, send: Send, look: Look | None) -> None:
        """Serves one HTTP request.

        Args:
            scope: The ASGI scope.
            receive: The ASGI receive function.
            send: The ASGI send function.
            look: Asks the app about a credential; `None` where that is not the app's matter.
        """
        if not self._guard.allows_host(Headers(scope["headers"]).get(b"host")):
            request_id = new_request_id()
            error = ForbiddenError("The Host is not among the setting allowed_hosts.")
            body = msgspec.json.encode({"error": error.to_dict(request_id)})
            await respond(send, 421, [JSON_TYPE, (b"x-request-id", request_id.encode())], body)
            return
        root = scope.get("root_path", "")
        below = {
            **scope,
            "path": root + path_below_root(scope),
            "root_path": root + self._path,
        }
        asked = credential_look.set(None if look is None else partial(look, scope))
        seen = request_scope.set(scope)
        try:
            await self._dashboard(below, receive, send)
        finally:
            request_scope.reset(seen)
            credential_look.reset(asked)

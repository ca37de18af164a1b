"""What the protocol needs from the rest of the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from kailash_mcp_prod.auth.principal import Credentials, Principal


class ToolHost(Protocol):
    """The tools behind the protocol; `tools.ToolService` is one."""

    def tool_list(self, principal: Principal) -> bytes:
        """The tools this principal may see: an encoded JSON array of MCP `Tool` objects.

        It is put into the response as it is, never decoded.
        """
        ...

    async def call(
        self, principal: Principal, name: str, arguments: dict[str, Any], *, request_id: str
    ) -> dict[str, Any]:
        """Run a tool and return its JSON-safe structured result.

        Raises:
            ServerError: The call failed; `UnknownToolError` when there is no such tool.
        """
        ...

    def on_tools_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` whenever a tool list changed. Returns a function that ends it."""
        ...

    async def ready(self) -> None:
        """Wait until tools can be listed and called.

        Raises:
            UnavailableError: They never will be.
        """
        ...


class Authenticator(Protocol):
    """Turns what a transport found on a request into the caller's identity."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        """The principal behind the credentials.

        Raises:
            UnauthenticatedError: They are missing, wrong or expired.
        """
        ...

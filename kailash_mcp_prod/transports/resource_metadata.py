"""Where clients find out who issues tokens for this server: the metadata of RFC 9728.

It is the same for everybody and needs no credential, since it tells how to get one. So that web
pages can read it too, any origin may.
"""

from __future__ import annotations

import json
from typing import Final

from kailash_mcp_prod.auth.challenge import WELL_KNOWN, ProtectedResource
from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.protocol import new_request_id
from kailash_mcp_prod.transports.asgi import (
    JSON_TYPE,
    RawHeaders,
    Receive,
    Scope,
    Send,
    path_below_root,
    respond,
)
from kailash_mcp_prod.transports.http_exchange import Exchange, Refusal, bad_request
from kailash_mcp_prod.transports.http_head import Head

_METHODS: Final = ("GET", "HEAD")
_PUBLIC: Final[RawHeaders] = [
    (b"access-control-allow-origin", b"*"),
    (b"cache-control", b"public, max-age=300"),
]


class ResourceMetadata:
    """An ASGI application that serves the metadata, at the root and for each path of MCP.

    Args:
        resource: The server as a protected resource; without one there is no metadata.
        path: Where MCP is, which may differ from the path under which clients know it.
    """

    def __init__(self, resource: ProtectedResource | None, path: str = "/mcp") -> None:
        self._body = b"" if resource is None else json.dumps(resource.metadata).encode()
        self._paths = frozenset[str]() if resource is None else {"", path, resource.path}
        # The metadata is that of each surface below an address, too.
        self._above = tuple(f"{each}/" for each in self._paths if each)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        below = path_below_root(scope).removeprefix(WELL_KNOWN).rstrip("/")
        if below not in self._paths and not below.startswith(self._above):
            refusal = Refusal(NotFoundError("There is no metadata here."))
        elif scope["method"] not in _METHODS:
            allow = (b"allow", ", ".join(_METHODS).encode())
            refusal = bad_request(f"{scope['method']} is not allowed here.", 405, [allow])
        else:
            await respond(send, 200, [JSON_TYPE, *_PUBLIC], self._body)
            return
        exchange = Exchange(new_request_id(), Head(scope["headers"]), receive, send, 0)
        await exchange.refuse(refusal)

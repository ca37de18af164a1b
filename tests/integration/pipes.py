"""A client of stdio in the process of the server."""

from __future__ import annotations

import asyncio
import json
import os
from typing import Any

from kailash_mcp_prod import ProductionMCPServer
from kailash_mcp_prod.auth.principal import Credentials
from kailash_mcp_prod.transports.stdio import StdioTransport


class Pipes:
    """A stdio transport of the server's on pipes, started with a credential."""

    def __init__(self, server: ProductionMCPServer, headers: dict[str, str]) -> None:
        self._input, self._to_server = os.pipe()
        self._from_server, self._output = os.pipe()
        self.transport = StdioTransport(
            server._dispatcher,
            server._credentials.authenticator,
            Credentials(headers.get("authorization"), headers.get("x-api-key")),
            descriptors=(self._input, self._output),
        )

    async def ask(self, message: Any) -> Any:
        """Send a request, or a line of bytes, and wait for its answer."""
        line = message if isinstance(message, bytes) else json.dumps(message).encode()
        os.write(self._to_server, line + b"\n")
        line = b""
        while not line.endswith(b"\n"):
            line += await asyncio.to_thread(os.read, self._from_server, 1 << 16)
        return json.loads(line)

    async def close(self) -> None:
        """Stop the transport and close the pipes."""
        await self.transport.stop()
        for descriptor in (self._input, self._to_server, self._from_server, self._output):
            os.close(descriptor)

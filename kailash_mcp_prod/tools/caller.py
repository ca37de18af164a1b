"""Calls of tools from Python, for code in the server's own process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from kailash_mcp_prod.auth.principal import LOCAL, Principal
from kailash_mcp_prod.background import run_on
from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.surfaces.names import FULL


class ToolCaller:
    """Calls tools from Python, on whatever event loop the caller runs.

    Args:
        service: The tools.
    """

    def __init__(self, service: ToolService) -> None:
        self._service = service
        self._loop: asyncio.AbstractEventLoop | None = None

    def bind(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """Names the loop on which the server runs; `None` when it does not."""
        self._loop = loop

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop on which the server runs.

        Raises:
            StartupError: The server is not running.
        """
        if self._loop is None or self._loop.is_closed():
            raise StartupError("Start the server before you use it.")
        return self._loop

    async def call_tool(
        self, name: str, arguments: Mapping[str, Any] | None = None, *, principal: Principal = LOCAL
    ) -> dict[str, Any]:
        """Calls a tool and returns its structured result.

        Raises:
            ServerError: The call failed; the same error that a client would get.
            StartupError: The server is not running.
        """
        return await run_on(
            self.loop,
            self._service.call(
                principal, name, dict(arguments or {}), request_id=uuid4().hex, surface=FULL
            ),
        )

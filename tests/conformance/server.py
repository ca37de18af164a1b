"""The server that the conformance suite judges: its fixtures on our own core and transport.

`python -m tests.conformance.server` serves on a free port, says where, and ends with its input.
"""

from __future__ import annotations

import asyncio
import sys

from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.http import HttpTransport
from kailash_mcp_prod.transports.listening import Listener
from tests.conformance.asking_tools import ASKING_TOOLS
from tests.conformance.prompts import Prompts
from tests.conformance.resources import Resources
from tests.conformance.task_tools import TASK_TOOLS
from tests.conformance.tools import CONTENT_TOOLS, Tools


class Anybody:
    """An `Authenticator` of a server without authentication."""

    async def authenticate(self, credentials: Credentials) -> Principal:
        return ANONYMOUS


def make_dispatcher() -> Dispatcher:
    prompts, resources = Prompts(), Resources()
    tools = Tools(CONTENT_TOOLS, ASKING_TOOLS, TASK_TOOLS, prompts=prompts, resources=resources)
    return Dispatcher(
        tools,
        resources=resources,
        prompts=prompts,
        completion=prompts,
        instructions="Call what the conformance suite calls.",
    )


async def _serve() -> None:
    async with HttpTransport(make_dispatcher(), Anybody()) as transport:
        listener = Listener(transport, "127.0.0.1", 0)
        await listener.start()
        try:
            print(f"{listener.url}/mcp", flush=True)
            # The harness holds our input open for as long as it lives.
            await asyncio.to_thread(sys.stdin.read)
        finally:
            await listener.stop()


if __name__ == "__main__":
    asyncio.run(_serve())

"""A server of the official SDK 2.x, on which the clients are tried before they judge ours.

Over HTTP it takes a free port, which it names on standard error once it listens.

python reference_server.py stdio
python reference_server.py http
"""

from __future__ import annotations

import sys

from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

server = MCPServer("reference", version="1.2.3")
notes: dict[int, str] = {}


@server.tool()
def remember(text: str) -> dict[str, int]:
    number = len(notes) + 1
    notes[number] = text
    return {"id": number}


@server.tool()
def recall(number: int) -> dict[str, str]:
    if number not in notes:
        raise ToolError(f"no note {number}")
    return {"text": notes[number]}


if sys.argv[1] == "stdio":
    server.run("stdio")
else:
    server.run("streamable-http", port=0)

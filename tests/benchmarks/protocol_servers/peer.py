"""Peers with 130 tools that do nothing: `python peer.py KIND PORT`; runs in their environments."""

from __future__ import annotations

import sys
from typing import Any

TOOLS = 135
DESCRIPTION = "Does nothing and says so."


def nothing(name: str = "", count: int = 0, ratio: float = 0.0, active: bool = True) -> dict:  # type: ignore[type-arg]
    return {"done": True}


def add_tools(add: Any) -> None:
    for number in range(TOOLS):
        add(nothing, name=f"no_op_{number}", description=DESCRIPTION)


def sdk1(port: int) -> None:
    from mcp.server.fastmcp import FastMCP

    server = FastMCP("peer", port=port, log_level="ERROR", json_response=True)
    add_tools(server.add_tool)
    server.run("streamable-http")


def sdk2(port: int) -> None:
    from mcp.server import MCPServer

    server = MCPServer("peer", log_level="ERROR")
    add_tools(server.add_tool)
    server.run("streamable-http", port=port, json_response=True)


def fastmcp(port: int) -> None:
    from fastmcp import FastMCP
    from fastmcp.tools import Tool

    server = FastMCP("peer")
    add_tools(lambda function, **told: server.add_tool(Tool.from_function(function, **told)))
    server.run(
        "http",
        port=port,
        path="/mcp",
        json_response=True,
        show_banner=False,
        uvicorn_config={"log_level": "error", "access_log": False},
    )


def kailash(port: int) -> None:
    from kailash_mcp import MCPServer

    server = MCPServer("peer")
    for number in range(TOOLS):
        named = type(nothing)(nothing.__code__, nothing.__globals__, f"no_op_{number}")
        named.__defaults__ = nothing.__defaults__
        named.__annotations__ = dict(nothing.__annotations__)
        named.__doc__ = DESCRIPTION
        server.tool()(named)
    # It serves standard streams and WebSocket by itself; over HTTP it is its FastMCP that serves.
    inner = server._mcp
    inner.settings.port = port
    inner.settings.log_level = "ERROR"
    inner.settings.json_response = True
    inner.run("streamable-http")


if __name__ == "__main__":
    globals()[sys.argv[1]](int(sys.argv[2]))

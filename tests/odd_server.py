"""A small MCP server over stdio that does on request what a client must be able to stand.

    python odd_server.py [--no-tools] [--refuse KIND]

It needs the standard library alone.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

READS = {"readOnlyHint": True}
ANY = {"type": "object"}
TOOLS: list[dict[str, Any]] = [
    {"name": "echo", "description": "Gives back.", "inputSchema": ANY, "annotations": READS},
    {"name": "note.down", "inputSchema": ANY},
    {"name": "notes", "inputSchema": ANY, "annotations": READS},
    {"name": "fail", "inputSchema": ANY},
    {"name": "blocks", "inputSchema": ANY},
    {"name": "tell_key", "inputSchema": ANY},
    {"name": "long", "inputSchema": ANY},
    {"name": "refuse", "inputSchema": ANY},
    {"name": "say_nothing", "inputSchema": ANY},
    {"name": "die", "inputSchema": ANY},
]
BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": "first"},
    {"type": "image", "mimeType": "image/png", "data": "AAAA"},
    {"type": "resource", "resource": {"uri": "notes://1", "text": "a note"}},
    {"type": "resource", "resource": {"uri": "notes://2", "blob": "AAAA"}},
    {"type": "resource_link", "name": "three", "uri": "notes://3"},
]
RESOURCES = {"notes://1": "a note", "notes://key": os.environ.get("ODD_API_KEY", "")}

notes: list[Any] = []
initialised: list[str] = []


def text(value: str, **more: Any) -> dict[str, Any]:
    return {"content": [{"type": "text", "text": value}], **more}


def structured(value: dict[str, Any], **more: Any) -> dict[str, Any]:
    return text(json.dumps(value), structuredContent=value, **more)


def result_of(tool: str, arguments: dict[str, Any]) -> dict[str, Any] | None:
    match tool:
        case "echo":
            return structured({"given": arguments, "process": os.getpid()})
        case "note.down":
            notes.append(arguments)
            return structured({"notes": len(notes)})
        case "notes":
            return structured({"notes": notes})
        case "fail":
            error = {"code": "invalid_arguments", "message": "name: is missing"}
            return structured({"error": error}, isError=True)
        case "blocks":
            return {"content": BLOCKS}
        case "tell_key":
            return text(f"The key is {os.environ['ODD_API_KEY']}.")
        case "long":
            return text("x" * arguments["characters"])
        case "die":
            sys.exit(1)
        case _:
            return None


def answer(message: dict[str, Any]) -> dict[str, Any] | None:
    given = message.get("params") or {}
    match message["method"]:
        case "initialize":
            initialised.append("once")
            return {
                "protocolVersion": given["protocolVersion"],
                "capabilities": {"tools": {}, "resources": {}},
                "serverInfo": {"name": "odd", "version": "1"},
            }
        case "tools/list":
            return {"tools": TOOLS}
        case "tools/call":
            return result_of(given["name"], given.get("arguments") or {})
        case "resources/read" if given["uri"] in RESOURCES:
            return {"contents": [{"uri": given["uri"], "text": RESOURCES[given["uri"]]}]}
        case _:
            return None


def refusal(message: dict[str, Any]) -> str | None:
    given = message.get("params") or {}
    if message["method"] == "resources/read" and given["uri"] not in RESOURCES:
        return f"there is no {given['uri']}"
    if message["method"] == "tools/call" and given["name"] == "refuse":
        return f"not with {os.environ.get('ODD_API_KEY', 'you')}"
    if message["method"] == "tools/list" and "--no-tools" in sys.argv:
        return "there are no tools"
    return None


def main() -> None:
    for line in sys.stdin:
        message = json.loads(line)
        reply = {"jsonrpc": "2.0", "id": message.get("id")}
        problem = refusal(message)
        if problem is not None:
            reply["error"] = {"code": -32602, "message": problem}
        else:
            result = answer(message)
            if result is None:
                continue
            reply["result"] = result
        print(json.dumps(reply), flush=True)  # noqa: T201 - the way of stdio


if __name__ == "__main__":
    main()

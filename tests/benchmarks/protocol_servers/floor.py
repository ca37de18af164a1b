"""The floor: uvicorn and msgspec, and nothing of MCP but the shape of its messages."""

from __future__ import annotations

import sys
from typing import Any

import msgspec
import uvicorn

ANSWER = {"content": [{"type": "text", "text": '{"done":true}'}], "isError": False}
TOOL = {
    "name": "",
    "description": "Does nothing and says so. " * 20,
    "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
}
LIST = msgspec.Raw(
    msgspec.json.encode([{**TOOL, "name": f"no_op_{number}"} for number in range(130)])
)


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] != "http":
        return
    request = msgspec.json.decode((await receive())["body"])
    result = ANSWER if request["method"] == "tools/call" else {"tools": LIST}
    body = msgspec.json.encode({"jsonrpc": "2.0", "id": request["id"], "result": result})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), log_level="error", access_log=False, lifespan="off")

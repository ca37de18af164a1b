"""`tools/list` and `tools/call`."""

from __future__ import annotations

from typing import Any

import msgspec

from kailash_mcp_prod.errors import ServerError, UnknownToolError
from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError, from_server_error
from kailash_mcp_prod.protocol.host import ToolContent, ToolHost
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.peers import Peers

_encoder = msgspec.json.Encoder()


def tool_result(structured: dict[str, Any], *, is_error: bool) -> dict[str, Any]:
    """An MCP `CallToolResult` with the same JSON as structured content and as text.

    Both, because some clients read only one of them.
    """
    encoded = _encoder.encode(structured)
    return {
        "content": [{"type": "text", "text": encoded.decode()}],
        "structuredContent": msgspec.Raw(encoded),
        "isError": is_error,
    }


class ToolMethods:
    """The tool methods over one host.

    Args:
        host: The tools.
        peers: Makes the peer of each call.
    """

    def __init__(self, host: ToolHost, peers: Peers) -> None:
        self._host = host
        self._peers = peers

    def methods(self) -> list[Method]:
        """The entries for the method table."""
        return [
            Method("tools/list", self.list, cacheable=True),
            Method("tools/call", self.call, mirrored_param="name", rounds=True),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """All tools on one page, as the host's bytes.

        Raises:
            RpcError: -32602 for a cursor, since this server never issues one.
        """
        if call.params.get("cursor") is not None:
            raise RpcError(INVALID_PARAMS, "Unknown cursor: all tools are on the first page.")
        await self._host.ready()
        context = call.context
        return {"tools": msgspec.Raw(self._host.tool_list(context.principal, context.surface))}

    async def call(self, call: Call) -> dict[str, Any]:
        """Run a tool; its failure is a result with `isError`.

        Raises:
            RpcError: -32602 for malformed parameters and for an unknown tool.
        """
        name = call.params.get("name")
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, "params.name must be the name of a tool.")
        arguments = call.params.get("arguments", {})
        if not isinstance(arguments, dict):
            raise RpcError(INVALID_PARAMS, "params.arguments must be an object.")
        context = call.context
        try:
            await self._host.ready()
            with self._peers.of(call) as peer:
                outcome = await self._host.call(
                    context.principal,
                    name,
                    arguments,
                    request_id=context.request_id,
                    surface=context.surface,
                    peer=peer,
                )
        except UnknownToolError as error:
            raise from_server_error(error, context.request_id, code=INVALID_PARAMS) from error
        except ServerError as error:
            return tool_result({"error": error.to_dict(context.request_id)}, is_error=True)
        if isinstance(outcome, ToolContent):
            return _content_result(outcome)
        return tool_result(outcome, is_error=False)


def _content_result(outcome: ToolContent) -> dict[str, Any]:
    result: dict[str, Any] = {"content": list(outcome.blocks), "isError": outcome.is_error}
    if outcome.structured is not None:
        result["structuredContent"] = outcome.structured
    return result

"""`tools/list` and `tools/call`."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

import msgspec

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ServerError, UnknownToolError
from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError, from_server_error
from kailash_mcp_prod.protocol.host import ToolContent, ToolHost
from kailash_mcp_prod.protocol.messages import Params
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.mirroring import text_at
from kailash_mcp_prod.protocol.peer import Peer
from kailash_mcp_prod.protocol.revisions import META_FINGERPRINT
from kailash_mcp_prod.protocol.task_methods import TaskMethods

MAX_ARGUMENTS = 1000
_NONE: Mapping[str, Any] = MappingProxyType({})
_encoder = msgspec.json.Encoder()


def tool_result(structured: dict[str, Any], *, is_error: bool) -> dict[str, Any]:
    """An MCP `CallToolResult` with the same JSON as structured content and as text.

    Both, because some clients read only one of them.
    """
    return encoded_result(_encoder.encode(structured), is_error=is_error)


def encoded_result(encoded: bytes, *, is_error: bool) -> dict[str, Any]:
    """The same of what is JSON already."""
    return {
        "content": [{"type": "text", "text": encoded.decode()}],
        "structuredContent": msgspec.Raw(encoded),
        "isError": is_error,
    }


class ToolMethods:
    """The tool methods over one host.

    Args:
        host: The tools.
        tasks: Runs the calls, and makes tasks of those that take long.
    """

    def __init__(self, host: ToolHost, tasks: TaskMethods) -> None:
        self._host = host
        self._tasks = tasks

    def methods(self) -> list[Method]:
        """The entries for the method table."""
        return [
            Method("tools/list", self.list, cacheable=True),
            Method(
                "tools/call",
                self.call,
                mirrored_param="name",
                rounds=True,
                mirrored_arguments=self.mirrored_arguments,
            ),
        ]

    def mirrored_arguments(self, params: Params, principal: Principal) -> Mapping[str, str | None]:
        """What clients repeat of a call's arguments in headers, as it stands there."""
        name, arguments = params.get("name"), params.get("arguments")
        paths = self._host.header_arguments(principal, name) if isinstance(name, str) else _NONE
        if not paths:
            return _NONE
        return {header: text_at(arguments, path) for header, path in paths.items()}

    async def list(self, call: Call) -> dict[str, Any]:
        """All tools on one page, as the host's bytes, and the list's fingerprint.

        Raises:
            RpcError: -32602 for a cursor, since this server never issues one.
        """
        if call.params.get("cursor") is not None:
            raise RpcError(INVALID_PARAMS, "Unknown cursor: all tools are on the first page.")
        await self._host.ready()
        context = call.context
        tools = self._host.encoded_list(context.principal, context.surface)
        return {"tools": msgspec.Raw(tools.body), "_meta": {META_FINGERPRINT: tools.fingerprint}}

    async def call(self, call: Call) -> dict[str, Any]:
        """Run a tool; its failure is a result with `isError`.

        Raises:
            RpcError: -32602 for malformed parameters and for an unknown tool.
        """
        name = call.params.get("name")
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, "params.name must be the name of a tool.")
        arguments = call.params.get("arguments", {})
        if not isinstance(arguments, dict) or len(arguments) > MAX_ARGUMENTS:
            raise RpcError(
                INVALID_PARAMS,
                f"params.arguments must be an object of at most {MAX_ARGUMENTS} members.",
            )
        return await self._tasks.run(call, partial(self._run, call, name, arguments))

    async def _run(
        self, call: Call, name: str, arguments: dict[str, Any], peer: Peer
    ) -> dict[str, Any]:
        context = call.context
        try:
            await self._host.ready()
            outcome = await self._host.call(
                context.principal,
                name,
                arguments,
                request_id=context.request_id,
                surface=context.surface,
                peer=peer,
                idempotency_key=context.idempotency_key,
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

"""`prompts/list`, `prompts/get` and `completion/complete`.

Source: the pages *Prompts* and *Completion* of both revisions of MCP.
"""

from __future__ import annotations

from typing import Any, Final

from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError
from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError, from_server_error
from kailash_mcp_prod.protocol.host import CompletionHost, PromptHost
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.pages import page_of
from kailash_mcp_prod.protocol.peers import Peers

MAX_ARGUMENTS: Final = 64
MAX_VALUES: Final = 100
MAX_TYPED: Final = 1024


class PromptMethods:
    """The prompt methods over one host.

    Args:
        host: The prompts.
        peers: Makes the peer of each call.
    """

    def __init__(self, host: PromptHost, peers: Peers) -> None:
        self._host = host
        self._peers = peers

    def methods(self) -> list[Method]:
        """The entries for the method table."""
        return [
            Method("prompts/list", self.list, cacheable=True),
            Method("prompts/get", self.get, mirrored_param="name", rounds=True),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """A page of the prompts.

        Raises:
            RpcError: -32602 for an unknown cursor.
        """
        return page_of("prompts", await self._host.prompts(call.context.principal), call.params)

    async def get(self, call: Call) -> dict[str, Any]:
        """The messages of a prompt.

        Raises:
            RpcError: -32602 for an unknown prompt and for wrong arguments.
        """
        name = call.params.get("name")
        if not isinstance(name, str):
            raise RpcError(INVALID_PARAMS, "params.name must be the name of a prompt.")
        arguments = texts_of(call.params.get("arguments", {}), "params.arguments")
        context = call.context
        try:
            with self._peers.of(call) as peer:
                return await self._host.get_prompt(
                    context.principal, name, arguments, request_id=context.request_id, peer=peer
                )
        except (NotFoundError, InvalidArgumentsError) as error:
            raise from_server_error(error, context.request_id, code=INVALID_PARAMS) from error


class CompletionMethods:
    """The completion method over one host.

    Args:
        host: What completes.
    """

    def __init__(self, host: CompletionHost) -> None:
        self._host = host

    def methods(self) -> list[Method]:
        """The entries for the method table."""
        return [Method("completion/complete", self.complete)]

    async def complete(self, call: Call) -> dict[str, Any]:
        """Up to 100 values for an argument.

        Raises:
            RpcError: -32602 for malformed parameters, and for what can't be completed.
        """
        reference, argument, value = _asked(call.params)
        given = call.params.get("context", {})
        if not isinstance(given, dict):
            raise RpcError(INVALID_PARAMS, "params.context must be an object.")
        known = texts_of(given.get("arguments", {}), "params.context.arguments")
        context = call.context
        try:
            found = await self._host.complete(
                context.principal,
                reference,
                argument,
                value,
                known,
                request_id=context.request_id,
            )
        except (NotFoundError, InvalidArgumentsError) as error:
            raise from_server_error(error, context.request_id, code=INVALID_PARAMS) from error
        values = list(found.values)
        total = len(values) if found.total is None else found.total
        completion: dict[str, Any] = {
            "values": values[:MAX_VALUES],
            "hasMore": found.more or total > MAX_VALUES,
        }
        if not found.more:
            completion["total"] = total
        return {"completion": completion}


def _asked(params: dict[str, Any]) -> tuple[dict[str, Any], str, str]:
    reference, argument = params.get("ref"), params.get("argument")
    kind = reference.get("type") if isinstance(reference, dict) else None
    member = _REFERENCES.get(kind) if isinstance(kind, str) else None
    if not isinstance(reference, dict) or member is None:
        raise RpcError(INVALID_PARAMS, f"params.ref.type must be one of {', '.join(_REFERENCES)}.")
    if not isinstance(reference.get(member), str):
        raise RpcError(INVALID_PARAMS, f"params.ref.{member} must be text.")
    if not isinstance(argument, dict):
        raise RpcError(INVALID_PARAMS, "params.argument must be an object.")
    name, value = argument.get("name"), argument.get("value")
    if not isinstance(name, str) or not isinstance(value, str) or len(value) > MAX_TYPED:
        raise RpcError(
            INVALID_PARAMS,
            f"params.argument needs a name and a value, texts of at most {MAX_TYPED} characters.",
        )
    return reference, name, value


_REFERENCES: Final = {"ref/prompt": "name", "ref/resource": "uri"}


def texts_of(value: Any, where: str) -> dict[str, str]:
    """An object whose values are all texts.

    Raises:
        RpcError: -32602 when it is anything else.
    """
    if not isinstance(value, dict) or len(value) > MAX_ARGUMENTS:
        raise RpcError(
            INVALID_PARAMS, f"{where} must be an object of at most {MAX_ARGUMENTS} members."
        )
    for name, each in value.items():
        if not isinstance(each, str):
            raise RpcError(INVALID_PARAMS, f"{where}.{name[:64]} must be text.")
    return value

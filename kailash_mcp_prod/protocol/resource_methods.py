"""`resources/list`, `resources/templates/list`, `resources/read`, and the old era's subscriptions.

Source: the page *Resources* of both revisions of MCP.
"""

from __future__ import annotations

from functools import partial
from typing import Any, Final

from kailash_mcp_prod.errors import (
    InvalidArgumentsError,
    NotFoundError,
    OverloadedError,
    ServerError,
)
from kailash_mcp_prod.protocol.codec import encode_notification
from kailash_mcp_prod.protocol.connection import Connection
from kailash_mcp_prod.protocol.faults import (
    INVALID_PARAMS,
    INVALID_REQUEST,
    RESOURCE_NOT_FOUND,
    RpcError,
    from_server_error,
)
from kailash_mcp_prod.protocol.host import ResourceHost
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.pages import page_of
from kailash_mcp_prod.protocol.peers import Peers
from kailash_mcp_prod.protocol.revisions import Era
from kailash_mcp_prod.protocol.updates import ResourceUpdates

RESOURCE_UPDATED: Final = "notifications/resources/updated"
MAX_URI_LENGTH: Final = 2048
MAX_SUBSCRIBED: Final = 200
_LEGACY: Final = frozenset({Era.LEGACY})


class ResourceMethods:
    """The resource methods over one host.

    Args:
        host: The resources.
        peers: Makes the peer of each read.
        updates: Tells of the resources that changed.
    """

    def __init__(self, host: ResourceHost, peers: Peers, updates: ResourceUpdates) -> None:
        self._host = host
        self._peers = peers
        self._updates = updates

    def methods(self) -> list[Method]:
        """The entries for the method table."""
        return [
            Method("resources/list", self.list, cacheable=True),
            Method("resources/templates/list", self.templates, cacheable=True),
            Method("resources/read", self.read, cacheable=True, mirrored_param="uri", rounds=True),
            Method("resources/subscribe", self.subscribe, _LEGACY),
            Method("resources/unsubscribe", self.unsubscribe, _LEGACY),
        ]

    async def list(self, call: Call) -> dict[str, Any]:
        """A page of the resources.

        Raises:
            RpcError: -32602 for an unknown cursor.
        """
        return page_of("resources", await self._host.resources(call.context.principal), call.params)

    async def templates(self, call: Call) -> dict[str, Any]:
        """A page of the resource templates.

        Raises:
            RpcError: -32602 for an unknown cursor.
        """
        templates = await self._host.templates(call.context.principal)
        return page_of("resourceTemplates", templates, call.params)

    async def read(self, call: Call) -> dict[str, Any]:
        """The contents of a resource.

        Raises:
            RpcError: -32602 for a malformed URI; for an unknown one too in the new era, and -32002
                in the old one.
        """
        return {"contents": list(await self._contents(call, uri_of(call)))}

    async def subscribe(self, call: Call) -> dict[str, Any]:
        """Tell the channel of each change of a resource that its client may read and hear of.

        Raises:
            RpcError: As for `read`; -32600 when the channel has subscribed to too many.
        """
        uri, connection = uri_of(call), _connection(call)
        await self._contents(call, uri)
        if connection.lifetime.ended:
            return {}
        earlier = connection.subscribed.get(uri)
        if earlier is None and len(connection.subscribed) >= MAX_SUBSCRIBED:
            limit = OverloadedError(f"A session may subscribe to {MAX_SUBSCRIBED} resources.")
            raise from_server_error(limit, call.context.request_id, code=INVALID_REQUEST)
        message = encode_notification(RESOURCE_UPDATED, {"uri": uri})
        # It counts who asked last: a session outlives the tokens of its client.
        connection.subscribed[uri] = self._updates.subscribe(
            uri, call.context.principal, partial(connection.outbox.put, message)
        )
        if earlier is not None:
            earlier()
        return {}

    async def unsubscribe(self, call: Call) -> dict[str, Any]:
        """Tell the channel no longer; nothing happens when it had not subscribed.

        Raises:
            RpcError: -32602 for a malformed URI.
        """
        end = _connection(call).subscribed.pop(uri_of(call), None)
        if end is not None:
            end()
        return {}

    async def may_read(self, call: Call, uri: str) -> bool:
        """Whether the caller of a request may read a resource."""
        try:
            await self._contents(call, uri)
        except (RpcError, ServerError):
            return False
        return True

    async def _contents(self, call: Call, uri: str) -> Any:
        context = call.context
        try:
            with self._peers.of(call) as peer:
                return await self._host.read_resource(
                    context.principal, uri, request_id=context.request_id, peer=peer
                )
        except NotFoundError as error:
            code = INVALID_PARAMS if call.era is Era.MODERN else RESOURCE_NOT_FOUND
            fault = from_server_error(error, context.request_id, code=code)
            fault.data["uri"] = uri
            raise fault from error
        except InvalidArgumentsError as error:
            raise from_server_error(error, context.request_id, code=INVALID_PARAMS) from error


def uri_of(call: Call) -> str:
    """The URI that a request names.

    Raises:
        RpcError: -32602 when it is missing, no text, or too long.
    """
    uri = call.params.get("uri")
    if not isinstance(uri, str) or not 0 < len(uri) <= MAX_URI_LENGTH:
        raise RpcError(
            INVALID_PARAMS, f"params.uri must be a URI of at most {MAX_URI_LENGTH} characters."
        )
    return uri


def _connection(call: Call) -> Connection:
    connection = call.context.connection
    if connection is None:
        raise RpcError(INVALID_REQUEST, "Send an initialize request first.")
    return connection

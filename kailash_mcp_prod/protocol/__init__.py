"""MCP itself: messages, methods and both protocol eras, over any tools and any transport.

A transport decodes nothing: it hands bytes to `Dispatcher.receive` (or messages to `handle`)
with a `Context`, and sends the `Reply` back.
"""

from __future__ import annotations

from kailash_mcp_prod.protocol.codec import (
    InvalidMessageError,
    decode,
    encode_error,
    encode_notification,
)
from kailash_mcp_prod.protocol.connection import Connection
from kailash_mcp_prod.protocol.deferral import Ask
from kailash_mcp_prod.protocol.dispatcher import Dispatcher
from kailash_mcp_prod.protocol.faults import RpcError, from_server_error
from kailash_mcp_prod.protocol.host import (
    Audience,
    Authenticator,
    CompletionHost,
    Completions,
    PromptHost,
    ResourceHost,
    Revocations,
    ToolContent,
    ToolHost,
)
from kailash_mcp_prod.protocol.lifecycle import ServerInfo
from kailash_mcp_prod.protocol.lifetimes import CancelScope, Lifetime
from kailash_mcp_prod.protocol.messages import (
    Batch,
    ClientResponse,
    Message,
    Notification,
    Reply,
    Request,
)
from kailash_mcp_prod.protocol.methods import (
    Call,
    Context,
    Emit,
    Method,
    MirroredHeaders,
    new_request_id,
)
from kailash_mcp_prod.protocol.peer import Peer
from kailash_mcp_prod.protocol.revisions import SUPPORTED_REVISIONS, Era
from kailash_mcp_prod.protocol.sealing import Seal

__all__ = [
    "SUPPORTED_REVISIONS",
    "Ask",
    "Audience",
    "Authenticator",
    "Batch",
    "Call",
    "CancelScope",
    "ClientResponse",
    "CompletionHost",
    "Completions",
    "Connection",
    "Context",
    "Dispatcher",
    "Emit",
    "Era",
    "InvalidMessageError",
    "Lifetime",
    "Message",
    "Method",
    "MirroredHeaders",
    "Notification",
    "Peer",
    "PromptHost",
    "Reply",
    "Request",
    "ResourceHost",
    "Revocations",
    "RpcError",
    "Seal",
    "ServerInfo",
    "ToolContent",
    "ToolHost",
    "decode",
    "encode_error",
    "encode_notification",
    "from_server_error",
    "new_request_id",
]

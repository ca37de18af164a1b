"""The ways in: each carries JSON-RPC texts between clients and one `protocol.Dispatcher`."""

from __future__ import annotations

from kailash_mcp_prod.transports.base import BaseTransport
from kailash_mcp_prod.transports.http import HttpTransport
from kailash_mcp_prod.transports.stdio import StdioTransport
from kailash_mcp_prod.transports.websocket import WebSocketTransport

__all__ = ["BaseTransport", "HttpTransport", "StdioTransport", "WebSocketTransport"]

"""Turns a Kailash DataFlow application into a production MCP server.

The names below are imported when they are first used: importing the package takes no time.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod._version import __version__

if TYPE_CHECKING:
    from kailash_mcp_prod.auth.chain import AuthProvider
    from kailash_mcp_prod.auth.principal import Credentials, Principal
    from kailash_mcp_prod.config import ServerConfig
    from kailash_mcp_prod.errors import ServerError, StartupError
    from kailash_mcp_prod.nexus.auth import NexusAuth
    from kailash_mcp_prod.nexus.enhancing import NexusMCPPlugin, enhance_nexus_with_mcp
    from kailash_mcp_prod.observe.metrics import ServerMetrics
    from kailash_mcp_prod.server import ProductionMCPServer
    from kailash_mcp_prod.sessions.calling import calling_tools_of
    from kailash_mcp_prod.sessions.procedure_node import MCPProcedureNode, ToolCalls
    from kailash_mcp_prod.sessions.tool_node import MCPToolNode
    from kailash_mcp_prod.sessions.workflow_registry import StepCall, WorkflowRegistry
    from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
    from kailash_mcp_prod.transports.base import BaseTransport

_HOMES = {
    "AuthProvider": "auth.chain",
    "BaseTransport": "transports.base",
    "Credentials": "auth.principal",
    "DataFlowToolDiscovery": "tools.discovery",
    "MCPProcedureNode": "sessions.procedure_node",
    "MCPToolNode": "sessions.tool_node",
    "NexusAuth": "nexus.auth",
    "NexusMCPPlugin": "nexus.enhancing",
    "Principal": "auth.principal",
    "ProductionMCPServer": "server",
    "ServerConfig": "config",
    "ServerError": "errors",
    "ServerMetrics": "observe.metrics",
    "StartupError": "errors",
    "StepCall": "sessions.workflow_registry",
    "ToolCalls": "sessions.procedure_node",
    "WorkflowRegistry": "sessions.workflow_registry",
    "calling_tools_of": "sessions.calling",
    "enhance_nexus_with_mcp": "nexus.enhancing",
}

__all__ = [
    "AuthProvider",
    "BaseTransport",
    "Credentials",
    "DataFlowToolDiscovery",
    "MCPProcedureNode",
    "MCPToolNode",
    "NexusAuth",
    "NexusMCPPlugin",
    "Principal",
    "ProductionMCPServer",
    "ServerConfig",
    "ServerError",
    "ServerMetrics",
    "StartupError",
    "StepCall",
    "ToolCalls",
    "WorkflowRegistry",
    "__version__",
    "calling_tools_of",
    "enhance_nexus_with_mcp",
]


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{home}"), name)

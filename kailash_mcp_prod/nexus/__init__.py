"""MCP for Nexus apps: `enhance_nexus_with_mcp(app)` gives one its MCP endpoints."""

from __future__ import annotations

from kailash_mcp_prod.nexus.auth import NexusAuth
from kailash_mcp_prod.nexus.enhancing import NexusMCPPlugin, enhance_nexus_with_mcp
from kailash_mcp_prod.nexus.integration import NexusIntegration

__all__ = ["NexusAuth", "NexusIntegration", "NexusMCPPlugin", "enhance_nexus_with_mcp"]

"""The protocol revisions this server speaks, and the two eras they belong to.

Source: the pages *Versioning and Compatibility* (2026-07-28) and *Lifecycle* (2025-11-25) of
the MCP specification.
"""

from __future__ import annotations

import enum
from typing import Final

MODERN_REVISIONS: Final = ("2026-07-28",)
LEGACY_REVISIONS: Final = ("2025-11-25", "2025-06-18", "2025-03-26")
SUPPORTED_REVISIONS: Final = MODERN_REVISIONS + LEGACY_REVISIONS
LATEST_LEGACY_REVISION: Final = LEGACY_REVISIONS[0]

BATCH_REVISION: Final = "2025-03-26"
"""The only revision with JSON-RPC batches; also the one assumed of a client that names none."""

META_PROTOCOL_VERSION: Final = "io.modelcontextprotocol/protocolVersion"
META_CLIENT_CAPABILITIES: Final = "io.modelcontextprotocol/clientCapabilities"
META_CLIENT_INFO: Final = "io.modelcontextprotocol/clientInfo"
META_LOG_LEVEL: Final = "io.modelcontextprotocol/logLevel"
META_SERVER_INFO: Final = "io.modelcontextprotocol/serverInfo"
TASKS_EXTENSION: Final = "io.modelcontextprotocol/tasks"
META_FINGERPRINT: Final = "kailash-mcp-prod/fingerprint"
META_SUBSCRIPTION_ID: Final = "io.modelcontextprotocol/subscriptionId"


class Era(enum.Enum):
    """How a message says which revision it follows: by a handshake, or in its own `_meta`."""

    LEGACY = "legacy"
    MODERN = "modern"

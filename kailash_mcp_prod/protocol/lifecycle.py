"""How a client gets to know the server: `initialize` and `ping`, or `server/discover`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, INVALID_REQUEST, RpcError
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.revisions import (
    LATEST_LEGACY_REVISION,
    LEGACY_REVISIONS,
    SUPPORTED_REVISIONS,
    TASKS_EXTENSION,
    Era,
)

_LEGACY: Final = frozenset({Era.LEGACY})
_MODERN: Final = frozenset({Era.MODERN})


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """What the server says about itself."""

    name: str = "kailash-mcp-prod"
    title: str = "Kailash MCP"
    version: str = __version__

    def to_dict(self) -> dict[str, str]:
        """The MCP `Implementation` object."""
        return {"name": self.name, "title": self.title, "version": self.version}


class _ClientInfo(msgspec.Struct, frozen=True):
    name: str
    version: str


class _InitializeParams(msgspec.Struct, frozen=True, rename="camel"):
    protocol_version: str
    capabilities: dict[str, Any]
    client_info: _ClientInfo


class LifecycleMethods:
    """The methods that introduce the server.

    Args:
        info: The server's identity.
        capabilities: The MCP `ServerCapabilities` object.
        instructions: How an agent should use the server, if anything.
    """

    def __init__(
        self, info: ServerInfo, capabilities: dict[str, Any], instructions: str | None
    ) -> None:
        self._info = info
        self._capabilities = capabilities
        self._instructions = {} if instructions is None else {"instructions": instructions}

    def methods(self) -> list[Method]:
        """The entries for the method table."""
        return [
            Method("initialize", self.initialize, _LEGACY, cancellable=False, opens_channel=True),
            Method("ping", self.ping, _LEGACY, opens_channel=True),
            Method("server/discover", self.discover, _MODERN, cacheable=True),
        ]

    async def initialize(self, call: Call) -> dict[str, Any]:
        """Negotiate a legacy revision: the client's if it is spoken here, else our latest.

        Raises:
            RpcError: -32602 for malformed parameters, -32600 on an initialized channel.
        """
        connection = call.context.connection
        if connection is None or connection.version is not None:
            raise RpcError(INVALID_REQUEST, "This channel is initialized already.")
        try:
            params = msgspec.convert(call.params, _InitializeParams)
        except msgspec.ValidationError as error:
            raise RpcError(INVALID_PARAMS, f"Invalid initialize parameters: {error}.") from error
        wanted = params.protocol_version
        connection.capabilities = params.capabilities
        connection.version = wanted if wanted in LEGACY_REVISIONS else LATEST_LEGACY_REVISION
        return {
            "protocolVersion": connection.version,
            "capabilities": self._capabilities,
            "serverInfo": self._info.to_dict(),
            **self._instructions,
        }

    async def ping(self, _call: Call) -> dict[str, Any]:
        """Nothing, to show that somebody is there."""
        return {}

    async def discover(self, _call: Call) -> dict[str, Any]:
        """Every revision of both eras, the capabilities and the instructions."""
        return {
            "supportedVersions": list(SUPPORTED_REVISIONS),
            "capabilities": {**self._capabilities, "extensions": {TASKS_EXTENSION: {}}},
            **self._instructions,
        }

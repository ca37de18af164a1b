"""The transports of MCP, made as the settings say; who carries them is another matter."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Self

from kailash_mcp_prod.auth.challenge import Challenges
from kailash_mcp_prod.auth.configured import configured_challenges
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.protocol import Authenticator, Dispatcher, Revocations
from kailash_mcp_prod.transports.http import HttpTransport
from kailash_mcp_prod.transports.http_guard import LOOPBACK_HOSTS, LOOPBACK_ORIGINS
from kailash_mcp_prod.transports.unread_budget import UnreadBudget
from kailash_mcp_prod.transports.websocket import WebSocketTransport


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all transports of a server share.

    Attributes:
        hosts: Names under which the server may be addressed.
        origins: Web pages that may call.
        challenges: What refusals tell of the credential to get.
        unread: Counts the answers that wait to be read.
    """

    hosts: Collection[str]
    origins: Collection[str]
    challenges: Challenges
    unread: UnreadBudget

    @classmethod
    def of(cls, config: ServerConfig) -> Self:
        """Those of a server that listens itself."""
        return cls(
            {*LOOPBACK_HOSTS, config.host, *config.allowed_hosts},
            {*LOOPBACK_ORIGINS, *config.allowed_origins},
            configured_challenges(config),
            UnreadBudget(),
        )


def mcp_transports(
    config: ServerConfig,
    dispatcher: Dispatcher,
    authenticator: Callable[[str], Authenticator],
    revocations: Revocations,
    around: Surroundings,
    *,
    path: str = "/mcp",
    websocket_path: str = "/ws",
) -> tuple[HttpTransport, WebSocketTransport]:
    """The two ASGI applications: any ASGI server carries them, or another application.

    Args:
        config: The settings.
        dispatcher: The protocol over the server's tools.
        authenticator: Tells who the clients of a transport are, by its name.
        revocations: Tell when credentials end.
        around: What other transports share with them.
        path: Where MCP over HTTP is.
        websocket_path: Where MCP over WebSocket is.
    """
    http = HttpTransport(
        dispatcher,
        authenticator("http"),
        path=path,
        max_body_bytes=config.max_body_bytes,
        max_sessions=config.max_sessions,
        allowed_hosts=around.hosts,
        allowed_origins=around.origins,
        challenges=around.challenges,
        revocations=revocations,
        unread=around.unread,
    )
    websocket = WebSocketTransport(
        dispatcher,
        authenticator("websocket"),
        path=websocket_path,
        max_message_bytes=config.max_body_bytes,
        max_channels=config.max_websockets,
        max_messages_per_second=config.max_messages_per_second,
        idle_seconds=config.websocket_idle_seconds,
        allowed_hosts=around.hosts,
        allowed_origins=around.origins,
        challenges=around.challenges,
        revocations=revocations,
        unread=around.unread,
    )
    return http, websocket

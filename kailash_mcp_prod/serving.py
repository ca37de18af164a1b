"""The transports of MCP, made as the settings say, and the sockets of a server of its own."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Self

from kailash_mcp_prod.auth.challenge import Challenges
from kailash_mcp_prod.auth.configured import configured_challenges
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.protocol import Authenticator, Dispatcher, Revocations
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.transports.binding import bind_both, bind_local
from kailash_mcp_prod.transports.connection_limit import ConnectionLimit
from kailash_mcp_prod.transports.forwarding import Forwarder, socket_of
from kailash_mcp_prod.transports.http import HttpTransport
from kailash_mcp_prod.transports.http_guard import LOOPBACK_HOSTS, LOOPBACK_ORIGINS
from kailash_mcp_prod.transports.http_wire import PARTING_SECONDS
from kailash_mcp_prod.transports.listening import Listener
from kailash_mcp_prod.transports.resource_metadata import ResourceMetadata
from kailash_mcp_prod.transports.rest import GuardedApp
from kailash_mcp_prod.transports.routing import TransportRouter
from kailash_mcp_prod.transports.session_ids import SessionIds
from kailash_mcp_prod.transports.unread_budget import UnreadBudget
from kailash_mcp_prod.transports.websocket import WebSocketTransport
from kailash_mcp_prod.workers.place import WorkerPlace
from kailash_mcp_prod.workers.sharing import taken

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.traces_requests import RestSpans

_LOOK_SECONDS: Final = 0.05


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all transports of a server share.

    Attributes:
        hosts: Names under which the server may be addressed.
        origins: Web pages that may call.
        challenges: What refusals tell of the credential to get.
        unread: Counts the answers that wait to be read.
        slot: The place of this process among the workers of its machine.
    """

    hosts: Collection[str]
    origins: Collection[str]
    challenges: Challenges
    unread: UnreadBudget
    slot: int = 0

    @classmethod
    def of(cls, config: ServerConfig, place: WorkerPlace | None = None) -> Self:
        """Those of a server that listens itself."""
        return cls(
            {*LOOPBACK_HOSTS, config.host, *config.allowed_hosts},
            {*LOOPBACK_ORIGINS, *config.allowed_origins},
            configured_challenges(config),
            UnreadBudget(),
            0 if place is None else place.slot,
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
        session_ids=SessionIds(config.run_key, around.slot),
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


class Serving:
    """The transports of a server on sockets: MCP on `port`, REST on the next one.

    Args:
        config: The settings.
        http: MCP over HTTP.
        websocket: MCP over WebSocket.
        rest: REST and what is mounted beside it.
        around: What the transports share.
        place: The sockets of a worker; by default they are bound here.

    Raises:
        StartupError: A port can't be bound.
    """

    def __init__(
        self,
        config: ServerConfig,
        http: HttpTransport,
        websocket: WebSocketTransport,
        rest: GuardedApp | RestSpans,
        *,
        around: Surroundings,
        place: WorkerPlace | None = None,
    ) -> None:
        self._parts = http, websocket, rest
        self.connections = ConnectionLimit(config.max_connections)
        with_http, with_ws = config.transport != "websocket", config.transport != "http"
        self._home: Listener | None = None
        self._forwarder: Forwarder | None = None
        if place is not None and with_http:
            self._forwarder = Forwarder(http, place.slot, place.count, place.directory)
            self._socket_path = socket_of(place.directory, place.slot)
        self._given = None if place is None else place.given
        first: socket.socket | None = None
        second: socket.socket | None = None
        if place is None:
            first, second = bind_both(config.host, config.port)
        ports = (config.port, config.port) if place is None else place.ports
        self._mcp = Listener(
            TransportRouter(
                websocket,
                (self._forwarder or http) if with_http else None,
                ResourceMetadata(around.challenges.resource),
            ),
            config.host,
            ports[0],
            max_message_bytes=config.max_body_bytes if with_ws else None,
            connections=self.connections,
            keep_alive_seconds=config.keep_alive_seconds,
            listening=first,
            accepts=place is None,
        )
        self._rest = Listener(
            rest,
            config.host,
            ports[1],
            connections=self.connections,
            keep_alive_seconds=config.keep_alive_seconds,
            listening=second,
            accepts=place is None,
        )
        mcp = self._mcp.url
        self.mcp_url = f"{mcp}/mcp" if with_http else None
        self.ws_url = f"{mcp.replace('http', 'ws', 1)}/ws" if with_ws else None
        self.rest_url = self._rest.url

    async def start(self) -> None:
        """Begins to accept connections."""
        for listener in (self._mcp, self._rest):
            await listener.start()
        if self._forwarder is not None:
            # Last, for a worker that is replaced serves what is passed on until now.
            http = self._parts[0]
            self._home = Listener(http, "", 0, listening=bind_local(self._socket_path))
            await self._home.start()
        if self._given is not None:
            asyncio.get_running_loop().add_reader(self._given, self._take, self._given)

    def _take(self, given: socket.socket) -> None:
        for number, connection in taken(given):
            (self._mcp, self._rest)[number].take(connection)

    async def drain(self, service: ToolService, config: ServerConfig, *, replaced: bool) -> None:
        """Sends clients away if that is wanted, and lets running calls finish.

        Args:
            service: Refuses new calls then.
            config: Says how long both may take.
            replaced: As for `send_away`.
        """
        grace, seconds = config.shutdown_grace_seconds, config.drain_seconds
        if grace or replaced:
            if not replaced:
                service.announce_drain()
            await self.send_away(grace, replaced=replaced)
        passed_on = [] if self._forwarder is None else [self._forwarder.idle_within(seconds)]
        await asyncio.gather(service.drain(seconds), *passed_on)

    async def send_away(self, seconds: float, *, replaced: bool) -> None:
        """Answers on, and tells clients to come by another connection next time.

        Args:
            seconds: How long.
            replaced: Whether another process accepts on the same sockets. New connections are
                left to it at once then, and this ends as soon as none is left here that waits for
                a request; each is closed after its answer, or when it was quiet for a while.
        """
        listeners = self._mcp, self._rest
        for listener in listeners:
            listener.let_go()
        if not replaced:
            await asyncio.sleep(seconds)
        for listener in listeners:
            # Who comes now is refused rather than let down, and goes to another replica.
            listener.stop_accepting()
        if not replaced:
            return
        until = time.monotonic() + seconds + PARTING_SECONDS
        while time.monotonic() < until:
            # uvicorn tells nobody when a connection ends, and looks often itself.
            await asyncio.sleep(_LOOK_SECONDS)
            if not any(each.has_idle_connections for each in listeners):
                return

    async def stop(self) -> None:
        """Ends streams, waits a moment for running requests, and closes all connections."""
        if self._given is not None:
            asyncio.get_running_loop().remove_reader(self._given)
            self._given.close()
        await asyncio.gather(*(each.stop() for each in self._parts))
        for listener in (self._home, self._rest, self._mcp):
            if listener is not None:
                await listener.stop()

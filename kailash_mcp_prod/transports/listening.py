"""Serves an ASGI application on a port, inside a running event loop and without signals."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import uvicorn

from kailash_mcp_prod.delays import Delays
from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.transports.binding import bind, url_of
from kailash_mcp_prod.transports.connection_limit import ConnectionLimit
from kailash_mcp_prod.transports.http_wire import KEEP_ALIVE_SECONDS, BoundedHttpProtocol

DEFAULT_CONNECTIONS = 10_000
_GRACE_SECONDS = 1


class Listener:
    """One listening socket and the server of HTTP and WebSocket behind it.

    Args:
        app: The ASGI application.
        host: The address to listen on.
        port: The port; 0 for any free one.
        max_message_bytes: The longest WebSocket message; `None` for a server without WebSocket.
        ping_seconds: How often an open WebSocket is pinged, and how long an answer may take.
        connections: How many connections may be open, on this listener and others.
        keep_alive_seconds: How long a connection waits for its next request.
        with_lifespan: Whether the application is told of its start and its end, and wants to know
            the addresses of clients behind a proxy on this machine.
        grace_seconds: How long open requests may go on at the end.
        listening: A socket that listens already, in place of one at the address.
        accepts: Whether it listens at all. If not, somebody else does at the address, and it is
            given connections by `take`.
    """

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        *,
        max_message_bytes: int | None = None,
        ping_seconds: float = 20.0,
        connections: ConnectionLimit | None = None,
        keep_alive_seconds: float = KEEP_ALIVE_SECONDS,
        with_lifespan: bool = False,
        grace_seconds: float = _GRACE_SECONDS,
        listening: socket.socket | None = None,
        accepts: bool = True,
    ) -> None:
        connections = connections or ConnectionLimit(DEFAULT_CONNECTIONS)
        self._host = host
        self._sockets = [listening or bind(host, port)] if accepts else []
        self.port = port
        for each in self._sockets:
            if each.family != getattr(socket, "AF_UNIX", None):
                self.port = each.getsockname()[1]
        self._taking: set[asyncio.Task[None]] = set()
        self._protocol = _http_protocol(connections, keep_alive_seconds)
        config = uvicorn.Config(
            app,
            lifespan="on" if with_lifespan else "off",
            log_config=None,
            access_log=False,
            server_header=False,
            # By name: uvicorn would take one without bounds.
            http=self._protocol,
            backlog=connections.backlog,
            # Of our own parts, nobody asks for the address of the client.
            proxy_headers=with_lifespan,
            ws="none" if max_message_bytes is None else _websocket_protocol(),
            ws_max_size=max_message_bytes or 0,
            ws_ping_interval=ping_seconds,
            ws_ping_timeout=ping_seconds,
            # Compression costs memory for each client, and tells lengths of secrets.
            ws_per_message_deflate=False,
            timeout_graceful_shutdown=math.ceil(grace_seconds),
        )
        self._server = _EmbeddedServer(config)
        connections.count(self._server.server_state.connections)
        self._task: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """The address for clients on this machine or, when bound to one address, for all."""
        return url_of(self._host, self.port)

    async def start(self) -> None:
        """Begins to accept connections.

        Raises:
            StartupError: The application has failed to start.
        """
        self._task = asyncio.create_task(
            self._server.serve(self._sockets), name=f"listener-{self.port}"
        )
        ready = asyncio.create_task(self._server.ready.wait())
        await asyncio.wait({ready, self._task}, return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            ready.cancel()
            await self._task
        elif not self._server.started:
            await self._task
            raise StartupError("The application failed while it started; its log says why.")

    def let_go(self) -> None:
        """Tells clients with each answer from now on that their connection ends with it."""
        self._protocol.leaving = True
        for each in self._server.server_state.connections:
            if isinstance(each, BoundedHttpProtocol):
                each.let_go()

    def stop_accepting(self) -> None:
        """Leaves new connections to other processes that listen on the same socket."""
        for server in self._server.servers if self._server.started else ():
            server.close()

    def take(self, connection: socket.socket) -> None:
        """Serves a connection that another process has accepted."""
        connection.setblocking(False)
        task = asyncio.create_task(self._serve(connection))
        self._taking.add(task)
        task.add_done_callback(self._taking.discard)

    async def _serve(self, connection: socket.socket) -> None:
        server, loop = self._server, asyncio.get_running_loop()
        # It may have ended meanwhile.
        with suppress(OSError):
            await loop.connect_accepted_socket(
                lambda: self._protocol(
                    config=server.config,
                    server_state=server.server_state,
                    app_state=server.lifespan.state,
                    _loop=loop,
                ),
                connection,
            )

    @property
    def has_idle_connections(self) -> bool:
        """Whether there is a connection on which the next request may come."""
        connections = self._server.server_state.connections
        return any(isinstance(each, BoundedHttpProtocol) and each.is_idle() for each in connections)

    def hurry(self) -> None:
        """Waits no longer for open requests."""
        self._server.force_exit = True

    async def stop(self) -> None:
        """Stops accepting, waits a moment for open requests, closes all."""
        self._server.should_exit = True
        if self._task is not None:
            await self._task
            self._task = None
        for each in self._sockets:
            each.close()


class _EmbeddedServer(uvicorn.Server):
    """uvicorn as a part: whoever owns the process handles its signals."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


def _http_protocol(
    connections: ConnectionLimit, keep_alive_seconds: float
) -> type[BoundedHttpProtocol]:
    class Protocol(BoundedHttpProtocol):
        limit = connections
        quiet = Delays(keep_alive_seconds)

    return Protocol


def _websocket_protocol() -> type[asyncio.Protocol]:
    # Late, because servers without WebSocket start faster without its library.
    from kailash_mcp_prod.transports.websocket_wire import BoundedWebSocketProtocol

    return BoundedWebSocketProtocol

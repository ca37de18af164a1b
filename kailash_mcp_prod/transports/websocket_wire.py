"""uvicorn's WebSocket protocol, made safe against clients that do not read, or never finish."""

from __future__ import annotations

import asyncio
from typing import Final

from uvicorn._types import ASGISendEvent
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

_MAX_FRAGMENTS: Final = 10_000
_LINGER_SECONDS: Final = 2.0


class BoundedWebSocketProtocol(WebSocketsSansIOProtocol):
    """Adds the bounds that uvicorn leaves open.

    A message may consist of a limited number of fragments, since empty ones count for nothing
    against its length. A client that does not read gets no answers to its pings, and its
    connection is dropped, not held open for what it will never take. No time-out passes while we
    do not read ourselves: the answer to our ping may be waiting.
    """

    _drop: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin to serve a connection."""
        # At the level DEBUG it would log all headers, and so credentials, and all messages.
        self.conn.debug = False
        super().connection_made(transport)

    def handle_cont(self, event: Frame) -> None:
        """Add a fragment."""
        if len(self.frames) >= _MAX_FRAGMENTS:
            self.conn.fail(1009, "too many fragments")
            self.handle_parser_exception()
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Answer a ping, unless earlier answers still wait."""
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()

    def keepalive_timeout(self) -> None:
        """Drop a client that has not answered a ping."""
        if self.read_paused:
            self.pong_timer = None
            self.pending_ping_payload = None
            self.schedule_ping()
            return
        super().keepalive_timeout()
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        self._linger()

    def shutdown(self) -> None:
        """Close the connection because the server stops."""
        super().shutdown()
        self._linger()

    async def send(self, message: ASGISendEvent) -> None:
        """Send an ASGI message; of a large one little is left to be read when this returns.

        An upgrade whose client has gone already is not accepted.
        """
        if self.transport.is_closing() and not self.handshake_complete:
            raise ClientDisconnected
        await super().send(message)
        if self.initial_response is not None and self.close_sent:
            # Refused, which is an answer: else the log calls it a fault of the application.
            self.handshake_complete = True
        await self.writable.wait()

    async def run_asgi(self) -> None:
        """Serve the connection, then let go of it within two seconds."""
        try:
            await super().run_asgi()
        finally:
            self._linger()

    def connection_lost(self, exc: Exception | None) -> None:
        """Take note that the connection is closed."""
        super().connection_lost(exc)
        if self._drop is not None:
            self._drop.cancel()

    def _linger(self) -> None:
        """Drop the connection soon, unless it is closed by then."""
        if self._drop is None and not self.disconnected:
            self._drop = self.loop.call_later(_LINGER_SECONDS, self.transport.abort)

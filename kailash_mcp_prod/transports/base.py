"""The extension point for further transports."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from types import TracebackType
from typing import Self

from kailash_mcp_prod.protocol import Authenticator, Dispatcher


class BaseTransport(ABC):
    r"""Carries messages between clients and the dispatcher.

    A transport authenticates every client, hands each JSON-RPC text to `Dispatcher.receive` with a
    `Context`, and sends the reply back. It keeps one `Connection` for each channel that lives
    longer than a request, sends what its `outbox` holds, and closes it with the channel. Decoding,
    eras, errors and cancellation are the dispatcher's business.

    Args:
        dispatcher: The protocol over the server's tools.
        authenticator: Tells who a client is.

    Example:
        One message a line over TCP, one request at a time:

        ```python
        class TcpTransport(BaseTransport):
            async def start(self) -> None:
                self.server = await asyncio.start_server(self.serve, "127.0.0.1", 0)

            async def stop(self) -> None:
                self.server.close()
                await self.server.wait_closed()

            async def serve(self, reader, writer) -> None:
                principal = await self.authenticator.authenticate(Credentials())
                connection = Connection()

                async def emit(message: bytes) -> None:
                    writer.write(message + b"\n")
                    await writer.drain()

                async for line in reader:
                    context = Context(principal, emit, connection.lifetime, connection)
                    reply = await self.dispatcher.receive(line, context)
                    if reply is not None:
                        await emit(reply.body)
                connection.close()
                writer.close()
        ```
    """

    def __init__(self, dispatcher: Dispatcher, authenticator: Authenticator) -> None:
        self.dispatcher = dispatcher
        self.authenticator = authenticator

    @abstractmethod
    async def start(self) -> None:
        """Begin to accept messages; returns once clients can connect.

        Raises:
            ServerError: The transport can't serve, for instance for want of a credential.
        """

    @abstractmethod
    async def stop(self) -> None:
        """End all channels and streams within about two seconds; later calls do nothing."""

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.stop()


TransportFactory = Callable[[Dispatcher, Authenticator], BaseTransport]
"""Makes a transport: most often its class."""

"""The bits of ASGI that the HTTP transport speaks: bodies, answers and event streams."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from types import TracebackType
from typing import Any, Final, Self

from kailash_mcp_prod.delays import Delays
from kailash_mcp_prod.protocol import CancelScope

Scope = MutableMapping[str, Any]
ASGIMessage = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[ASGIMessage]]
Send = Callable[[ASGIMessage], Awaitable[None]]
RawHeaders = list[tuple[bytes, bytes]]

_HALF_A_MINUTE: Final = Delays(30)
WHOLE_BODY: Final = "kailash_mcp_prod.whole_body"
"""The extension of a scope that gives the request's body, or `None` if it has to be received."""
JSON_ANSWER: Final = "kailash_mcp_prod.json_answer"
"""That which sends a short answer at once, or says that it can't."""
_NONE: Final[dict[str, Any]] = {}
LARGE: Final = 64 * 1024
"""What is longer may be more than the server's own buffers hold."""
JSON_TYPE: Final = (b"content-type", b"application/json")
_EVENT_HEADERS: Final[RawHeaders] = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),
    (b"x-accel-buffering", b"no"),
]


class ClientGoneError(ConnectionError):
    """The client disconnected before it had sent its body, or taken its answer."""


class BodyTooLargeError(Exception):
    """The body is longer than allowed."""


def path_below_root(scope: Scope) -> str:
    """The request's path without the one under which the application is mounted."""
    path: str = scope["path"]
    root: str = scope.get("root_path", "").rstrip("/")
    if not root:
        return path
    return path[len(root) :] if path == root or path.startswith(f"{root}/") else path


def whole_body(scope: Scope) -> bytes | None:
    """The request's body, if the server has all of it and can say so; else it is received."""
    take = scope.get("extensions", _NONE).get(WHOLE_BODY)
    body: bytes | None = None if take is None else take()
    return body


async def read_body(
    receive: Receive, limit: int, declared_length: str | None, hold: Callable[[int], None]
) -> bytes:
    """The whole request body.

    Args:
        receive: The ASGI receive function.
        limit: The longest body.
        declared_length: The header Content-Length.
        hold: Is called with the number of bytes of each part that has to wait for the next.

    Raises:
        BodyTooLargeError: It has, or says it has, more than `limit` bytes.
        ClientGoneError: The client disconnected, or took longer than half a minute.
    """
    if declared_length is not None and declared_length.isdecimal() and int(declared_length) > limit:
        raise BodyTooLargeError
    # As `asyncio.timeout`, for a fraction of what that takes.
    loop = asyncio.get_running_loop()
    waiting = _HALF_A_MINUTE.on(loop)
    with _Reading(loop) as scope:
        waiting.add(scope)
        try:
            return await _read_parts(receive, limit, hold)
        finally:
            waiting.discard(scope)
    raise ClientGoneError


class _Reading(CancelScope):
    def late(self) -> None:
        """Ends the wait for the rest of a body."""
        self.cancel()


async def _read_parts(receive: Receive, limit: int, hold: Callable[[int], None]) -> bytes:
    # Not a list of parts: many small ones would take many times their length.
    held = bytearray()
    while True:
        message = await receive()
        if message["type"] != "http.request":
            raise ClientGoneError
        part: bytes = message.get("body", b"")
        if len(held) + len(part) > limit:
            raise BodyTooLargeError
        if not message.get("more_body", False):
            return bytes(held + part) if held else part
        hold(len(part))
        held += part


async def respond(send: Send, status: int, headers: RawHeaders, body: bytes = b"") -> None:
    """Send a whole response."""
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    if len(body) > LARGE:
        body = await send_most(send, body)
    await send({"type": "http.response.body", "body": body})


async def send_most(send: Send, body: bytes) -> bytes:
    """Send a large body but for its end, which has to follow.

    The server takes that only when the client has read, so who waits for it knows.
    """
    await send({"type": "http.response.body", "body": body, "more_body": True})
    return b""


async def wait_for_disconnect(receive: Receive) -> None:
    """Return when the client has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


@contextlib.asynccontextmanager
async def on_disconnect(receive: Receive, callback: Callable[[], None]) -> AsyncIterator[None]:
    """Call back if the client disconnects while the block runs."""

    async def watch() -> None:
        await wait_for_disconnect(receive)
        callback()

    watcher = asyncio.create_task(watch())
    try:
        yield
    finally:
        watcher.cancel()


class EventStream:
    """A server-sent event stream that begins with its first event and ends with its block.

    Args:
        send: The ASGI send function.
        headers: Response headers beyond those of every event stream.
        keepalive_seconds: How often a comment shows the stream to be alive.
    """

    def __init__(self, send: Send, headers: RawHeaders, keepalive_seconds: float) -> None:
        self._send = send
        self._own_headers = headers
        self._keepalive_seconds = keepalive_seconds
        self._ticker: asyncio.Task[None] | None = None
        self._ended = False
        self.started = False

    async def start(self, first_id: str | None = None) -> None:
        """Send the response's head and a comment, so that proxies pass them on.

        Args:
            first_id: The id of an empty event, by which a client may come back before the first.
        """
        if self.started:
            return
        self.started = True
        # Not before, because most answers are no streams.
        self._lock = asyncio.Lock()
        headers = [*_EVENT_HEADERS, *self._own_headers]
        async with self._lock:
            await self._send({"type": "http.response.start", "status": 200, "headers": headers})
            opening = b": open\n\n"
            if first_id is not None:
                opening += f"id: {first_id}\ndata:\n\n".encode()
            await self._send({"type": "http.response.body", "body": opening, "more_body": True})
            if not self._ended:
                self._ticker = asyncio.create_task(self._tick())

    async def event(self, message: bytes, event_id: str | None = None) -> None:
        """Send one JSON-RPC message; JSON as encoded here has no newlines."""
        await self.start()
        identity = b"" if event_id is None else f"id: {event_id}\n".encode()
        await self._write(b"event: message\n" + identity + b"data: " + message + b"\n\n")

    async def end(self, *, retry_ms: int | None = None) -> None:
        """End the response, whatever the block still does; later events are not sent.

        Args:
            retry_ms: After how long the client may come back for the rest.
        """
        if not self.started or self._ended:
            return
        self._stop_ticking()
        last = b"" if retry_ms is None else f"retry: {retry_ms}\n\n".encode()
        await self._write(last, more=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            if exc_type is None and self.started:
                await self.end()
        finally:
            # A start may still wait for its client, and must not begin to tick then.
            self._ended = True
            self._stop_ticking()

    def _stop_ticking(self) -> None:
        if self._ticker is not None:
            self._ticker.cancel()

    async def _tick(self) -> None:
        # A server that reports a lost client by OSError tells the stream's own writes too.
        with contextlib.suppress(OSError):
            while True:
                await asyncio.sleep(self._keepalive_seconds)
                await self._write(b": keep-alive\n\n")

    async def _write(self, data: bytes, *, more: bool = True) -> None:
        async with self._lock:
            if not self._ended:
                if not more:
                    self._ended = True
                    self._stop_ticking()
                await self._send({"type": "http.response.body", "body": data, "more_body": more})

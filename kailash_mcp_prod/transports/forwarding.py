"""Passes requests on to the worker that knows what they are about.

A legacy session has streams, subscriptions and running requests, and a task its work: they live in
one process. Their ids begin with the place of that worker. Clients connect to any worker; the one
that gets such a request carries it to its home over a socket that only this machine has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Final, Self

import httpcore

from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.protocol import CancelScope, encode_error, from_server_error, new_request_id
from kailash_mcp_prod.transports.asgi import (
    JSON_TYPE,
    LARGE,
    ClientGoneError,
    RawHeaders,
    Receive,
    Scope,
    Send,
    respond,
    wait_for_disconnect,
)
from kailash_mcp_prod.transports.stopping import stopped_during

log = get_logger(__name__)

ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

_SESSION: Final = b"mcp-session-id"
_METHOD: Final = b"mcp-method"
_NAME: Final = b"mcp-name"
_OF_TASKS: Final = b"tasks/"
# They are about one connection, or are set anew on the next.
_OF_A_CONNECTION: Final = frozenset(
    {b"connection", b"keep-alive", b"te", b"trailer", b"upgrade", b"expect", b"date"}
)
_CLOSE: Final = (b"connection", b"close")
_CONNECT_SECONDS: Final = 2.0
# As long as the home itself would wait.
_BODY_SECONDS: Final = 30.0
_ORIGIN: Final = httpcore.Origin(b"http", b"worker", 80)


def socket_of(directory: Path, slot: int) -> Path:
    """The socket on which the worker of a place takes what others pass on."""
    return directory / f"worker-{slot}.sock"


def place_of(identity: bytes) -> int | None:
    """The place with which the id of a session or a task begins."""
    digits, dash, _ = identity[:4].partition(b"-")
    return int(digits) if dash and digits.isdigit() else None


class Forwarder:
    """MCP over HTTP, here or at the worker where it belongs.

    A home that does not answer is no reason to refuse: sessions are taken up here then.

    Args:
        app: The transport of this worker.
        slot: Its place.
        count: How many places there are.
        directory: Where the sockets of all of them are.
    """

    def __init__(self, app: ASGIApp, slot: int, count: int, directory: Path) -> None:
        self._app = app
        self._slot = slot
        self._count = count
        self._directory = directory
        self._running = 0
        self._changed = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI connection."""
        home = self._home_of(scope)
        if home is None:
            await self._app(scope, receive, send)
            return
        try:
            stream = await httpcore.AnyIOBackend().connect_unix_socket(
                str(socket_of(self._directory, home)), _CONNECT_SECONDS
            )
        except (httpcore.ConnectError, httpcore.ConnectTimeout) as failure:
            log.info("worker_not_reached", worker=home + 1, reason=type(failure).__name__)
            await self._app(scope, receive, send)
            return
        # Streams of a session end when it does, and nobody waits for them.
        counts = scope["method"] == "POST"
        self._running += counts
        try:
            async with httpcore.AsyncHTTP11Connection(origin=_ORIGIN, stream=stream) as home_side:
                # The home has to hear that its client goes, and one that hangs keeps nobody here.
                with CancelScope() as passing, _Client(receive, passing.cancel) as client:
                    await _carry(home_side, scope, client, send)
        except ClientGoneError:
            # Whoever has gone gets no answer, and leaves no trace of a defect.
            return
        finally:
            self._running -= counts
            self._changed.set()

    async def idle_within(self, seconds: float) -> bool:
        """Waits until nothing is passed on that will be answered; whether that came in time."""
        try:
            async with asyncio.timeout(seconds):
                while self._running:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _home_of(self, scope: Scope) -> int | None:
        """The place of the other worker that a request is for, if it is."""
        if scope["type"] != "http":
            return None
        headers = dict(scope["headers"])
        identity = headers.get(_SESSION)
        if identity is None and headers.get(_METHOD, b"").startswith(_OF_TASKS):
            identity = headers.get(_NAME)
        home = None if identity is None else place_of(identity)
        return home if home is not None and home != self._slot and home < self._count else None


class _Client:
    """Whose request is passed on: its body, and from the end of that on whether it is still there.

    Args:
        receive: The ASGI receive function.
        gone: Hears that the client has gone.
    """

    def __init__(self, receive: Receive, gone: Callable[[], None]) -> None:
        self._receive = receive
        self._gone = gone
        self._watcher: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._watcher is not None:
            self._watcher.cancel()

    async def body(self) -> AsyncIterator[bytes]:
        """The parts of the body.

        Raises:
            ClientGoneError: The client went before its end, or takes too long.
        """
        until = asyncio.get_running_loop().time() + _BODY_SECONDS
        more = True
        while more:
            try:
                async with asyncio.timeout_at(until):
                    message = await self._receive()
            except TimeoutError:
                raise ClientGoneError from None
            if message["type"] != "http.request":
                raise ClientGoneError
            more = message.get("more_body", False)
            if message.get("body"):
                yield message["body"]
        self.watch()

    def watch(self) -> None:
        """Receives no more body, but looks whether the client goes."""
        if self._watcher is None:
            self._watcher = asyncio.create_task(self._watch())

    async def _watch(self) -> None:
        await wait_for_disconnect(self._receive)
        self._gone()


async def _carry(
    home: httpcore.AsyncHTTP11Connection, scope: Scope, client: _Client, send: Send
) -> None:
    headers = [each for each in scope["headers"] if each[0] not in _OF_A_CONNECTION]
    has_body = any(name in {b"content-length", b"transfer-encoding"} for name, _ in headers)
    query = scope.get("query_string", b"")
    request = httpcore.Request(
        scope["method"],
        httpcore.URL(
            scheme=b"http",
            host=b"worker",
            port=80,
            target=scope["raw_path"] + (b"?" + query if query else b""),
        ),
        headers=[*headers, _CLOSE],
        content=client.body() if has_body else None,
    )
    if not has_body:
        client.watch()
    try:
        answer = await home.handle_async_request(request)
    except (httpcore.NetworkError, httpcore.ProtocolError):
        await _refuse(send)
        return
    # It may have answered before it had the whole body.
    client.watch()
    told: RawHeaders = [
        (name.lower(), value)
        for name, value in answer.headers
        if name.lower() not in _OF_A_CONNECTION and name.lower() != b"transfer-encoding"
    ]
    length = dict(told).get(b"content-length", b"")
    if length.isdigit() and int(length) <= LARGE:
        try:
            body = await answer.aread()
        except (httpcore.NetworkError, httpcore.ProtocolError):
            await _refuse(send)
            return
        await send({"type": "http.response.start", "status": answer.status, "headers": told})
        await send({"type": "http.response.body", "body": body})
        return
    await send({"type": "http.response.start", "status": answer.status, "headers": told})
    async for part in answer.aiter_stream():
        await send({"type": "http.response.body", "body": part, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _refuse(send: Send) -> None:
    """Answer in place of a worker that has ended meanwhile."""
    request_id = new_request_id()
    error = from_server_error(
        stopped_during(may_have_changed=True, cause="A worker ended"), request_id
    )
    body = encode_error(None, error.of_request(request_id)).body
    await respond(send, 503, [JSON_TYPE, (b"x-request-id", request_id.encode())], body)

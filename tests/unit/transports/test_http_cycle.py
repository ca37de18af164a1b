"""Answers in one write, and those that go uvicorn's own way."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from kailash_mcp_prod.transports.asgi import JSON_ANSWER, LARGE, whole_body
from kailash_mcp_prod.transports.http_wire import BoundedHttpProtocol

REQUEST = b"POST /a%20b?c=d HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
TEXT = (b"content-type", b"text/plain")


def length(body: bytes) -> tuple[bytes, bytes]:
    return b"content-length", str(len(body)).encode()


class Wire:
    """A transport that keeps what is written, and knows when a response is over."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.closed = False
        self.kept_open = False

    def get_extra_info(self, _name: str, default: Any = None) -> Any:
        return default

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def write(self, data: bytes) -> None:
        self.written.append(data)


App = Callable[[Any, Any, Any], Any]


async def served(app: App, *requests: bytes) -> Wire:
    """The connection after the application has answered one request after the other."""
    over: asyncio.Queue[None] = asyncio.Queue()

    async def until_the_end(scope: Any, receive: Any, send: Any) -> None:
        try:
            await app(scope, receive, send)
        finally:
            over.put_nowait(None)

    config = uvicorn.Config(until_the_end, log_config=None, access_log=False, lifespan="off")
    wire, state = Wire(), ServerState()
    protocol = BoundedHttpProtocol(config=config, server_state=state, app_state={})
    protocol.connection_made(wire)  # type: ignore[arg-type]
    for request in requests or (REQUEST,):
        protocol.data_received(request)
        async with asyncio.timeout(5):
            await over.get()
            await asyncio.gather(*state.tasks)
    wire.kept_open = not wire.closed
    protocol.connection_lost(None)
    return wire


def answering(body: bytes, *headers: tuple[bytes, bytes], status: int = 200, parts: int = 1) -> App:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [*headers]})
        for number in range(parts):
            more = number + 1 < parts
            await send({"type": "http.response.body", "body": body, "more_body": more})

    return app


async def test_a_whole_answer_is_one_write() -> None:
    wire = await served(answering(b"hello", TEXT, length(b"hello")))

    assert wire.written == [
        b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\nhello"
    ]
    assert wire.kept_open


def at_once(body: bytes, told: list[bool]) -> App:
    async def app(scope: Any, _receive: Any, send: Any) -> None:
        answer = scope["extensions"][JSON_ANSWER]
        told.append(answer(400, "the-id", body))
        if not told[-1]:
            await answering(b"slowly", length(b"slowly"))(scope, _receive, send)

    return app


async def test_a_json_answer_is_sent_at_once() -> None:
    told: list[bool] = []
    wire = await served(at_once(b"{}", told), REQUEST, REQUEST)

    head = b"content-type: application/json\r\nx-request-id: the-id\r\ncontent-length: 2\r\n\r\n"
    assert wire.written == [b"HTTP/1.1 400 Bad Request\r\n" + head + b"{}"] * 2
    assert told == [True, True]
    assert wire.kept_open


@pytest.mark.parametrize(
    ("body", "request_"),
    [
        (b"x" * (LARGE + 1), REQUEST),
        (b"{}", REQUEST.replace(b"POST", b"HEAD")),
        (b"{}", REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0")),
        (b"{}", REQUEST.replace(b"Host: a", b"Host: a\r\nConnection: close")),
    ],
    ids=["large", "head", "http 1.0", "close"],
)
async def test_unless_it_has_to_go_the_usual_way(body: bytes, request_: bytes) -> None:
    told: list[bool] = []
    wire = await served(at_once(body, told), request_)

    assert told == [False]
    assert b"content-length: 6" in b"".join(wire.written)


async def test_nor_when_another_answer_has_begun() -> None:
    told: list[bool] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        headers = [length(b"first")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        told.append(scope["extensions"][JSON_ANSWER](200, "the-id", b"{}"))
        await send({"type": "http.response.body", "body": b"first"})
        told.append(scope["extensions"][JSON_ANSWER](200, "the-id", b"{}"))

    wire = await served(app)
    assert told == [False, False]
    assert b"".join(wire.written).endswith(b"\r\n\r\nfirst")


async def test_an_answer_in_parts_is_sent_as_it_comes() -> None:
    wire = await served(answering(b"hello", TEXT, parts=2))

    assert b"".join(wire.written).endswith(b"\r\n\r\n5\r\nhello\r\n5\r\nhello\r\n0\r\n\r\n")
    assert b"transfer-encoding: chunked" in wire.written[0]


@pytest.mark.parametrize(
    ("app", "request_", "end"),
    [
        (answering(b"", status=204), REQUEST, b"HTTP/1.1 204 No Content\r\n\r\n"),
        (
            answering(b"hello", length(b"hello")),
            REQUEST.replace(b"POST", b"HEAD"),
            b"content-length: 5\r\n\r\n",
        ),
        (
            answering(b"hello", length(b"hello"), (b"connection", b"close")),
            REQUEST,
            b"connection: close\r\n\r\nhello",
        ),
        (
            answering(b"hello", length(b"hello")),
            REQUEST.replace(b"HTTP/1.1", b"HTTP/1.0"),
            b"connection: close\r\n\r\nhello",
        ),
        (answering(b"hello", (b"x-own", b"1"), length(b"hello")), REQUEST, b"\r\n\r\nhello"),
        (answering(b"hello"), REQUEST, b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n"),
    ],
    ids=["no content", "head", "close", "http 1.0", "an own header", "no length"],
)
async def test_whatever_is_not_plain_goes_the_usual_way(
    app: App, request_: bytes, end: bytes
) -> None:
    wire = await served(app, request_)

    assert b"".join(wire.written).endswith(end)


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-type", b"a\r\nset-cookie: b"), length(b"hello")],
        [(b"content-type", b"a\nb"), length(b"hello")],
        [(b"vary", b"a\x00"), length(b"hello")],
        [(b"bad name", b"a"), length(b"hello")],
    ],
    ids=["a second header", "a bare line end", "a null byte", "a name with a blank"],
)
async def test_a_header_that_would_break_the_head_is_not_sent(
    headers: list[tuple[bytes, bytes]],
) -> None:
    wire = await served(answering(b"hello", *headers))

    assert b"".join(wire.written).startswith(b"HTTP/1.1 500 ") or not wire.written
    assert b"set-cookie" not in b"".join(wire.written)


@pytest.mark.parametrize("said", [b"4", b"6"])
async def test_a_length_that_is_not_the_bodys_is_no_whole_answer(said: bytes) -> None:
    wire = await served(answering(b"hello", (b"content-length", said)))

    # What was begun can't be taken back, so the client sees the end of the connection.
    assert not wire.kept_open


async def test_an_application_that_breaks_after_its_head_is_answered_for() -> None:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [length(b"hello")]})
        raise ValueError("broken")

    wire = await served(app)

    assert wire.written[0].startswith(b"HTTP/1.1 500 ")


async def test_a_body_that_is_there_can_be_taken_once() -> None:
    taken: list[bytes | None] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        taken.extend((whole_body(scope), whole_body(scope)))
        await answering(b"", length(b""))(scope, receive, send)
        assert (await receive())["type"] == "http.disconnect"

    await served(app)

    assert taken == [b"hello", None]


async def test_a_body_that_is_not_there_or_was_begun_has_to_be_received() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(whole_body(scope))
        seen.append((await receive())["body"])
        seen.append(whole_body(scope))
        await answering(b"", length(b""))(scope, receive, send)

    await served(app, REQUEST[:-2])

    assert seen == [None, b"hel", None]


async def test_the_target_is_decoded() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append((scope["path"], scope["raw_path"], scope["query_string"]))
        await answering(b"", length(b""))(scope, receive, send)

    for padding in (b"", b"x" * 100):
        await served(app, REQUEST.replace(b"c=d", b"c=d" + padding))

    assert seen == [
        ("/a b", b"/a%20b", b"c=d"),
        ("/a b", b"/a%20b", b"c=d" + b"x" * 100),
    ]


async def test_an_answered_request_is_gone_without_the_garbage_collector() -> None:
    cycles: list[weakref.ref[Any]] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        cycles.append(weakref.ref(send.__self__))
        whole_body(scope)
        await answering(b"", length(b""))(scope, receive, send)

    gc.disable()
    try:
        await served(app, REQUEST, REQUEST, REQUEST)
        gone = [each() is None for each in cycles[:-1]]
    finally:
        gc.enable()

    assert gone == [True, True]

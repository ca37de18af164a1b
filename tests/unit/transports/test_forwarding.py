"""Requests for a worker, sent to another one of the same machine."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from kailash_mcp_prod.transports import forwarding
from kailash_mcp_prod.transports.binding import bind_local
from kailash_mcp_prod.transports.forwarding import Forwarder, place_of, socket_of
from kailash_mcp_prod.transports.listening import Listener

HOME = {"mcp-session-id": "1-abc"}


class App:
    """Tells what it was asked, and by which of them that was heard."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self.gone = asyncio.Event()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/stream":
            await self._stream(receive, send)
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message["body"], message["more_body"]
        self.begun.set()
        if scope["path"] == "/slow":
            await self.go_on.wait()
        answer: Any = {
            "by": self.name,
            "method": scope["method"],
            "target": f"{scope['raw_path'].decode()}?{scope['query_string'].decode()}",
            "headers": {name.decode(): value.decode() for name, value in scope["headers"]},
            "length": len(body),
        }
        if scope["path"] == "/large":
            answer["much"] = "x" * 1_000_000
        encoded = json.dumps(answer).encode()
        headers = [(b"content-length", str(len(encoded)).encode()), (b"mcp-session-id", b"1-new")]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": encoded})

    async def _stream(self, receive: Any, send: Any) -> None:
        headers = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"data: 1\n\n", "more_body": True})
        await self.go_on.wait()
        await send({"type": "http.response.body", "body": b"data: 2\n\n", "more_body": True})
        while (await receive())["type"] != "http.disconnect":
            pass
        self.gone.set()


class Workers:
    """Two workers; `web` is a client of the first."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.here, self.there = App("here"), App("there")
        self.forwarder = Forwarder(self.here, 0, 2, directory)
        self._listening = [
            Listener(self.forwarder, "127.0.0.1", 0),
            Listener(self.there, "", 0, listening=bind_local(socket_of(directory, 1))),
        ]
        self.web = httpx.AsyncClient(base_url=self._listening[0].url, trust_env=False)

    async def start(self) -> None:
        for each in self._listening:
            await each.start()

    async def end_home(self) -> None:
        self._listening[1].hurry()
        await self._listening[1].stop()

    async def stop(self) -> None:
        await self.web.aclose()
        for each in self._listening:
            await each.stop()


@pytest.fixture
async def workers() -> AsyncIterator[Workers]:
    # Not below pytest's own directory, for the path of such a socket may have 107 bytes.
    with tempfile.TemporaryDirectory() as directory:
        workers = Workers(Path(directory))
        await workers.start()
        try:
            yield workers
        finally:
            await workers.stop()


async def test_a_request_is_passed_on_as_it_came(workers: Workers) -> None:
    sent = {**HOME, "host": "mcp.example.com", "x-api-key": "k", "connection": "keep-alive"}
    answer = await workers.web.post("/mcp/a%20b?x=1", headers=sent, content=b"y" * 200_000)
    told = answer.json()

    assert (answer.status_code, answer.headers["mcp-session-id"]) == (201, "1-new")
    assert (told["by"], told["method"], told["target"]) == ("there", "POST", "/mcp/a%20b?x=1")
    assert told["length"] == 200_000
    assert told["headers"]["host"] == "mcp.example.com"
    assert told["headers"]["x-api-key"] == "k"
    assert len(answer.headers.get_list("date")) == 1


@pytest.mark.parametrize(
    ("headers", "by"),
    [
        ({}, "here"),
        ({"mcp-session-id": "0-abc"}, "here"),
        ({"mcp-session-id": "2-of-no-worker"}, "here"),
        ({"mcp-session-id": "nobody"}, "here"),
        ({"mcp-session-id": "1-abc"}, "there"),
        ({"mcp-method": "tasks/get", "mcp-name": "1-abc"}, "there"),
        ({"mcp-method": "tools/call", "mcp-name": "1-abc"}, "here"),
    ],
)
async def test_the_id_says_where_a_request_belongs(
    workers: Workers, headers: dict[str, str], by: str
) -> None:
    assert (await workers.web.post("/", headers=headers)).json()["by"] == by


def test_a_strange_id_has_no_place() -> None:
    for strange in (b"", b"-", b"x-1", b"\xb2-1", b"-1-x", b"12345-x"):
        assert place_of(strange) is None
    assert place_of(b"63-x") == 63


async def test_a_body_without_a_length_and_a_long_answer_are_passed_on(workers: Workers) -> None:
    async def parts() -> AsyncIterator[bytes]:
        for _ in range(10):
            yield b"z" * 10_000

    told = (await workers.web.post("/large", headers=HOME, content=parts())).json()
    assert (told["by"], told["length"], len(told["much"])) == ("there", 100_000, 1_000_000)


async def test_events_come_one_by_one_and_the_end_of_the_client_is_told(workers: Workers) -> None:
    async with workers.web.stream("GET", "/stream", headers=HOME) as answer:
        lines = answer.aiter_lines()
        assert await anext(lines) == "data: 1"
        workers.there.go_on.set()
        assert await anext(lines) == ""
        assert await anext(lines) == "data: 2"
    async with asyncio.timeout(5):
        await workers.there.gone.wait()
    # Nobody waits for streams.
    assert await workers.forwarder.idle_within(0)


async def test_without_its_home_a_request_is_served_here(workers: Workers) -> None:
    await workers.end_home()
    assert (await workers.web.post("/", headers=HOME, content=b"12")).json() | {"headers": {}} == {
        "by": "here",
        "method": "POST",
        "target": "/?",
        "headers": {},
        "length": 2,
    }


@asynccontextmanager
async def running_call(workers: Workers) -> AsyncIterator[asyncio.Task[httpx.Response]]:
    call = asyncio.create_task(workers.web.post("/slow", headers=HOME))
    async with asyncio.timeout(5):
        await workers.there.begun.wait()
        yield call


async def test_calls_that_were_passed_on_can_be_waited_for(workers: Workers) -> None:
    async with running_call(workers) as call:
        assert not await workers.forwarder.idle_within(0)
        waiting = asyncio.create_task(workers.forwarder.idle_within(5))
        workers.there.go_on.set()
        assert await waiting
        assert (await call).status_code == 201


@pytest.mark.parametrize(
    "begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nab"], ids=["before", "within"]
)
async def test_a_call_whose_home_dies_is_answered(workers: Workers, begun: bytes) -> None:
    async def die(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(begun)
        writer.close()

    path = socket_of(workers.directory, 1)
    path.unlink()
    async with await asyncio.start_unix_server(die, path):
        answer = await workers.web.post("/", headers=HOME)
    assert answer.status_code == 503
    data = answer.json()["error"]["data"]
    assert (data["code"], data["details"]) == ("unavailable", {"outcome": "unknown"})


class Client:
    """Sends the parts of a body, and then nothing, or that it has gone."""

    def __init__(self, *parts: bytes, gone: bool, more: bool) -> None:
        self._messages: list[dict[str, Any]] = [
            {"type": "http.request", "body": part, "more_body": more or part is not parts[-1]}
            for part in parts
        ]
        self._gone = gone
        self.answers: list[Any] = []
        self.goes = asyncio.Event()

    async def receive(self) -> Any:
        if self._messages:
            return self._messages.pop(0)
        if not self._gone:
            await self.goes.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        self.answers.append(message)

    async def post_to(self, forwarder: Forwarder, length: int) -> None:
        headers = [(b"host", b"h"), (b"mcp-session-id", b"1-a")]
        headers.append((b"content-length", str(length).encode()))
        scope = {"type": "http", "method": "POST", "raw_path": b"/", "path": "/"}
        async with asyncio.timeout(5):
            await forwarder({**scope, "headers": headers}, self.receive, self.send)


@asynccontextmanager
async def silent_home(workers: Workers) -> AsyncIterator[tuple[asyncio.Event, asyncio.Event]]:
    """In place of the other worker one that never answers: when it was asked, and when left."""
    asked, left = asyncio.Event(), asyncio.Event()

    async def listen(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        asked.set()
        await reader.read(-1)
        left.set()
        writer.close()

    path = socket_of(workers.directory, 1)
    path.unlink()
    async with await asyncio.start_unix_server(listen, path):
        yield asked, left


async def test_a_client_that_goes_within_its_body_is_no_failure(workers: Workers) -> None:
    client = Client(b"ab", gone=True, more=True)

    await client.post_to(workers.forwarder, 5)

    assert client.answers == []
    assert await workers.forwarder.idle_within(0)


async def test_a_home_that_hangs_is_left_when_the_client_goes(workers: Workers) -> None:
    client = Client(b"ab", gone=False, more=False)
    async with silent_home(workers) as (asked, left), asyncio.timeout(5):
        call = asyncio.create_task(client.post_to(workers.forwarder, 2))
        await asked.wait()
        client.goes.set()
        await call
        await left.wait()

    assert client.answers == []
    assert await workers.forwarder.idle_within(0)


async def test_a_body_that_never_ends_is_given_up(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forwarding, "_BODY_SECONDS", 0.05)
    client = Client(b"ab", gone=False, more=True)
    async with silent_home(workers) as (_, left), asyncio.timeout(5):
        await client.post_to(workers.forwarder, 5)
        await left.wait()

    assert client.answers == []

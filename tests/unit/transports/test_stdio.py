from __future__ import annotations

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.errors import UnauthenticatedError
from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.stdio import StdioTransport
from kailash_mcp_prod.transports.stdio_streams import open_source
from tests import wire_schema
from tests.sample_host import KeyRing, SampleHost
from tests.unit.transports.conftest import INITIALIZE, META, rpc

ROOT = Path(__file__).parents[3]
SERVER = [sys.executable, "-m", "tests.sample_host"]
CALL_SLOW = rpc("tools/call", 7, name="slow", _meta=META)


class Pipes:
    """A transport on a pair of pipes, and the client's ends of them."""

    def __init__(self, credentials: Credentials | None = None, **options: Any) -> None:
        self.host = SampleHost()
        self.keys = KeyRing()
        server_in, self.writer = os.pipe()
        self.reader, server_out = os.pipe()
        self._server = (server_in, server_out)
        self.transport = StdioTransport(
            Dispatcher(self.host, instructions="Echo what you hear."),
            self.keys,
            credentials,
            descriptors=self._server,
            **options,
        )
        self._buffer = b""

    async def start(self) -> None:
        await self.transport.start()
        for descriptor in self._server:
            os.close(descriptor)
        self._server = ()
        self._source = await open_source(self.reader)
        os.close(self.reader)

    def send(self, *messages: Any) -> None:
        lines = [m if isinstance(m, bytes) else json.dumps(m).encode() for m in messages]
        os.write(self.writer, b"".join(line + b"\n" for line in lines))

    async def receive(self) -> Any:
        """The next message; `None` at the end."""
        while b"\n" not in self._buffer:
            chunk = await self._source.read()
            if not chunk:
                assert self._buffer == b""
                return None
            self._buffer += chunk
        line, _, self._buffer = self._buffer.partition(b"\n")
        return json.loads(line)

    async def ask(self, message: dict[str, Any], revision: str = wire_schema.MODERN) -> Any:
        """Send a request and check its response."""
        wire_schema.check_request(revision, message)
        self.send(message)
        response = await self.receive()
        wire_schema.check_response(revision, response, message["method"])
        assert response["id"] == message["id"]
        return response

    def close_input(self) -> None:
        if self.writer >= 0:
            os.close(self.writer)
            self.writer = -1

    async def aclose(self) -> None:
        self.close_input()
        await self.transport.stop()
        for descriptor in self._server:
            os.close(descriptor)
        if hasattr(self, "_source"):
            await self._source.close()
        else:
            os.close(self.reader)


@contextlib.asynccontextmanager
async def piped(credentials: Credentials | None = None, **options: Any) -> AsyncIterator[Pipes]:
    pipes = Pipes(credentials, **options)
    try:
        await pipes.start()
        yield pipes
    finally:
        await pipes.aclose()


@pytest.fixture
async def pipes() -> AsyncIterator[Pipes]:
    async with piped() as pipes:
        yield pipes


async def test_both_eras_are_served_on_one_channel(pipes: Pipes) -> None:
    await pipes.ask(rpc("server/discover", _meta=META))
    await pipes.ask(rpc("initialize", **INITIALIZE), wire_schema.LEGACY)
    pipes.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    legacy = await pipes.ask(rpc("tools/list"), wire_schema.LEGACY)
    modern = await pipes.ask(rpc("tools/list", _meta=META))

    assert "resultType" not in legacy["result"]
    assert modern["result"]["resultType"] == "complete"


async def test_messages_sent_at_once_take_effect_in_their_order(pipes: Pipes) -> None:
    pipes.send(
        rpc("initialize", 1, **INITIALIZE),
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        rpc("tools/call", 2, name="slow"),
        {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": 2}},
        rpc("ping", 3),
    )

    assert [(await pipes.receive())["id"] for _ in range(2)] == [1, 3]
    assert pipes.host.slow_cancelled.is_set()
    assert len(pipes.host.listeners) == 1


async def test_initialize_is_answered_before_the_host_is_ready(pipes: Pipes) -> None:
    pipes.host.is_ready.clear()
    await pipes.ask(rpc("initialize", 1, **INITIALIZE), wire_schema.LEGACY)
    pipes.send(rpc("tools/list", 2))
    await pipes.ask(rpc("ping", 3), wire_schema.LEGACY)
    pipes.host.is_ready.set()

    assert (await pipes.receive())["id"] == 2


async def test_an_initialized_client_hears_that_the_tools_changed(pipes: Pipes) -> None:
    await pipes.ask(rpc("initialize", **INITIALIZE), wire_schema.LEGACY)
    pipes.send({"jsonrpc": "2.0", "method": "notifications/initialized"})
    await pipes.ask(rpc("ping"), wire_schema.LEGACY)
    pipes.host.change()

    message = await pipes.receive()
    wire_schema.check_notification(wire_schema.LEGACY, message)
    assert message["method"] == "notifications/tools/list_changed"


@pytest.mark.parametrize("line", [b"{", b"5", b"\xff", b"[" * 100, b'{"jsonrpc":"2.0"}'])
async def test_a_bad_line_is_answered_and_the_next_one_served(pipes: Pipes, line: bytes) -> None:
    pipes.send(line)
    response = await pipes.receive()
    wire_schema.check_response(wire_schema.MODERN, response)
    assert response["id"] is None

    await pipes.ask(rpc("tools/list", _meta=META))


async def test_empty_lines_and_carriage_returns_do_not_matter(pipes: Pipes) -> None:
    pipes.send(b"", b"\r", b"  ", json.dumps(rpc("ping")).encode() + b"\r")

    assert (await pipes.receive())["result"] == {}


async def test_an_overlong_line_is_answered_and_the_next_one_served() -> None:
    async with piped(max_line_bytes=1000) as pipes:
        pipes.send(b"x" * 5000)
        response = await pipes.receive()
        wire_schema.check_response(wire_schema.MODERN, response)
        assert "1000 bytes" in response["error"]["message"]
        await pipes.ask(rpc("tools/list", _meta=META))


async def test_a_long_message_passes(pipes: Pipes) -> None:
    text = "x" * 1_000_000
    body = json.dumps(rpc("tools/call", name="echo", arguments={"t": text}, _meta=META))
    sending = asyncio.create_task(asyncio.to_thread(pipes.send, body.encode()))
    response = await pipes.receive()
    await sending

    assert response["result"]["structuredContent"] == {"t": text}


async def test_requests_run_at_the_same_time(pipes: Pipes) -> None:
    pipes.send(CALL_SLOW)
    await pipes.ask(rpc("tools/call", 8, name="echo", _meta=META))
    pipes.host.release_slow.set()

    assert (await pipes.receive())["id"] == 7


async def test_reading_pauses_while_too_many_requests_run() -> None:
    async with piped(max_in_flight=2) as pipes:
        pipes.send(
            *(rpc("tools/call", number, name="slow", _meta=META) for number in range(3)),
            rpc("tools/call", 3, name="echo", _meta=META),
        )
        await pipes.host.slow_started.wait()
        for _ in range(20):
            await asyncio.sleep(0)
        running = pipes.host.slow_running
        pipes.host.release_slow.set()
        answered = {(await pipes.receive())["id"] for _ in range(4)}

    assert running == 2
    assert answered == {0, 1, 2, 3}


async def test_responses_do_not_mix(pipes: Pipes) -> None:
    text = "y" * 50_000
    arguments = {"t": text}
    for number in range(20):
        pipes.send(rpc("tools/call", number, name="slow", _meta=META))
    await pipes.host.slow_started.wait()
    pipes.host.release_slow.set()
    sending = asyncio.to_thread(
        pipes.send,
        *(rpc("tools/call", number, name="echo", arguments=arguments, _meta=META)
          for number in range(20, 40)),
    )  # fmt: skip
    sender = asyncio.create_task(sending)
    ids = {(await pipes.receive())["id"] for _ in range(40)}
    await sender

    assert ids == set(range(40))


LISTEN = rpc("subscriptions/listen", "s", notifications={"toolsListChanged": True}, _meta=META)


async def test_a_subscription_shares_the_channel_and_ends_with_it(pipes: Pipes) -> None:
    pipes.send(LISTEN)
    assert (await pipes.receive())["method"] == "notifications/subscriptions/acknowledged"
    await pipes.ask(rpc("tools/list", _meta=META))
    pipes.host.change()
    changed = await pipes.receive()
    wire_schema.check_notification(wire_schema.MODERN, changed)
    assert changed["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "s"
    pipes.close_input()

    ended = await pipes.receive()
    wire_schema.check_response(wire_schema.MODERN, ended, "subscriptions/listen")
    closed = await pipes.receive()
    wire_schema.check_notification(wire_schema.MODERN, closed)
    assert closed["method"] == "notifications/cancelled"
    assert closed["params"] == {"requestId": "s"}
    await pipes.transport.wait_closed()


async def test_subscriptions_are_bounded_and_leave_room_for_calls() -> None:
    async with piped(max_subscriptions=1, max_in_flight=1) as pipes:
        pipes.send(LISTEN)
        await pipes.receive()
        pipes.send({**LISTEN, "id": "t"})
        refused = await pipes.receive()
        await pipes.ask(rpc("tools/list", _meta=META))
        pipes.send(
            {"jsonrpc": "2.0", "method": "notifications/cancelled", "params": {"requestId": "s"}},
            {**LISTEN, "id": "u"},
        )
        acknowledged = await pipes.receive()

    wire_schema.check_response(wire_schema.MODERN, refused)
    assert refused["id"] == "t"
    assert refused["error"]["data"]["code"] == "overloaded"
    assert acknowledged["params"]["_meta"]["io.modelcontextprotocol/subscriptionId"] == "u"


async def test_the_end_of_the_input_lets_requests_finish(pipes: Pipes) -> None:
    pipes.send(CALL_SLOW)
    await pipes.host.slow_started.wait()
    pipes.close_input()
    pipes.host.release_slow.set()

    assert (await pipes.receive())["result"]["isError"] is False
    await pipes.transport.wait_closed()


async def test_a_request_that_outlasts_the_input_for_long_is_cancelled() -> None:
    async with piped(drain_seconds=0.05) as pipes:
        pipes.send(CALL_SLOW)
        await pipes.host.slow_started.wait()
        pipes.close_input()
        await pipes.transport.wait_closed()

        assert pipes.host.slow_cancelled.is_set()


async def test_a_last_line_without_a_newline_is_served(pipes: Pipes) -> None:
    os.write(pipes.writer, json.dumps(rpc("ping")).encode())
    pipes.close_input()

    assert (await pipes.receive())["result"] == {}


async def test_a_client_that_stops_reading_ends_the_transport() -> None:
    pipes = Pipes()
    await pipes.start()
    await pipes._source.close()
    pipes.send(*[rpc("ping")] * 3)
    await pipes.transport.wait_closed()
    await pipes.transport.stop()
    pipes.close_input()


async def test_stopping_does_not_wait_for_a_client_that_never_reads() -> None:
    async with piped() as pipes:
        big = rpc("tools/call", name="echo", arguments={"t": "z" * 300_000}, _meta=META)
        sending = asyncio.create_task(asyncio.to_thread(pipes.send, big, {**big, "id": 2}))
        await sending
        await pipes.host.called.wait()
        began = time.monotonic()
        await pipes.transport.stop()

    assert time.monotonic() - began < 3


async def test_the_credentials_are_checked_at_the_start() -> None:
    async with piped(Credentials(api_key="alice-key")) as pipes:
        await pipes.ask(rpc("tools/call", name="echo", _meta=META))

        assert pipes.host.calls[0][0].subject == "alice"
        assert len(pipes.keys.seen) == 1


async def test_wrong_credentials_keep_the_transport_from_starting() -> None:
    with pytest.raises(UnauthenticatedError):
        async with piped(Credentials(api_key="wrong")):
            pass


async def test_an_expired_principal_is_authenticated_again() -> None:
    pipes = Pipes(Credentials(api_key="alice-key"))
    pipes.keys.expires_at = time.time() - 1
    try:
        await pipes.start()
        await pipes.ask(rpc("tools/call", name="echo", _meta=META))
        pipes.keys.expires_at = None
        await pipes.ask(rpc("tools/call", name="echo", _meta=META))
        await pipes.ask(rpc("tools/call", name="echo", _meta=META))
        assert len(pipes.keys.seen) == 3
    finally:
        await pipes.aclose()


async def test_a_credential_that_expired_for_good_is_an_error_of_each_request() -> None:
    pipes = Pipes(Credentials(api_key="alice-key"))
    pipes.keys.expires_at = time.time() - 1
    try:
        await pipes.start()
        pipes.transport._credentials = Credentials(api_key="revoked")
        pipes.send(rpc("tools/call", 5, name="echo", _meta=META))
        response = await pipes.receive()
    finally:
        await pipes.aclose()

    wire_schema.check_response(wire_schema.MODERN, response)
    assert response["id"] == 5
    assert response["error"]["data"]["code"] == "unauthenticated"
    assert pipes.host.calls == []


class Recall:
    """Ends a credential when a test says so."""

    def __init__(self) -> None:
        self.callbacks: list[Callable[[], None]] = []

    def on_revoked(self, _principal: Principal, callback: Callable[[], None]) -> Callable[[], None]:
        self.callbacks.append(callback)
        return lambda: self.callbacks.remove(callback)


async def test_a_revoked_credential_ends_subscriptions_and_is_checked_with_each_request() -> None:
    recall = Recall()
    pipes = Pipes(Credentials(api_key="alice-key"), revocations=recall)
    try:
        await pipes.start()
        wanted = {"notifications": {"toolsListChanged": True}, "_meta": META}
        pipes.send(rpc("subscriptions/listen", 3, **wanted))
        assert "acknowledged" in (await pipes.receive())["method"]
        pipes.transport._credentials = Credentials(api_key="revoked")
        recall.callbacks[0]()
        assert (await pipes.receive())["id"] == 3
        assert (await pipes.receive())["params"]["requestId"] == 3
        pipes.send(rpc("tools/call", 5, name="echo", _meta=META))
        assert (await pipes.receive())["error"]["data"]["code"] == "unauthenticated"
        assert len(pipes.keys.seen) == 2
    finally:
        await pipes.aclose()
    assert recall.callbacks == []


def run_server(*messages: Any) -> subprocess.CompletedProcess[bytes]:
    """Feed a server process with messages; it ends with its input."""
    body = b"".join(json.dumps(message).encode() + b"\n" for message in messages)
    return subprocess.run(SERVER, cwd=ROOT, input=body, capture_output=True, timeout=30, check=True)


def test_tools_can_neither_write_to_the_client_nor_read_from_it() -> None:
    done = run_server(rpc("tools/call", name="print", _meta=META), rpc("ping", 2))

    *lines, last = done.stdout.splitlines()
    assert last == b"standard output is restored"
    responses = {response["id"]: response for response in map(json.loads, lines)}
    assert set(responses) == {1, 2}
    assert responses[1]["result"]["structuredContent"] == {"standard_input": ""}
    for kind in (b"Python", b"C", b"the system"):
        assert b"stray output of " + kind in done.stderr


def test_a_process_ends_with_its_input() -> None:
    done = run_server()

    assert done.returncode == 0
    assert done.stdout == b"standard output is restored\n"


@pytest.mark.parametrize("kind", ["file", "null"])
def test_the_input_may_be_a_file_or_nothing(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "input"
    path.write_text(json.dumps(rpc("ping")) + "\n")
    output = tmp_path / "output"
    with (
        (path if kind == "file" else Path(os.devnull)).open("rb") as stdin,
        output.open("wb") as stdout,
    ):
        subprocess.run(SERVER, cwd=ROOT, stdin=stdin, stdout=stdout, timeout=30, check=True)

    lines = output.read_bytes().splitlines()
    assert lines[-1] == b"standard output is restored"
    assert [json.loads(line)["result"] for line in lines[:-1]] == ([{}] if kind == "file" else [])

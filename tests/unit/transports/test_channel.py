from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from kailash_mcp_prod.auth.principal import ANONYMOUS, Principal
from kailash_mcp_prod.errors import RateLimitedError, UnauthenticatedError
from kailash_mcp_prod.protocol import Dispatcher
from kailash_mcp_prod.transports.channel import ChannelLimits, ClientChannel
from kailash_mcp_prod.transports.unread_budget import UnreadBudget
from tests import wire_schema
from tests.sample_host import ALICE, SampleHost
from tests.unit.transports.conftest import META, rpc
from tests.unit.transports.sockets import until

ECHO = json.dumps(rpc("tools/call", 1, name="echo", _meta=META)).encode()


class Line:
    """A channel whose messages to the client are in `sent`."""

    def __init__(self, **options: Any) -> None:
        self.host = SampleHost()
        self.sent: list[Any] = []
        self.channel = ClientChannel(
            Dispatcher(self.host), self._write, ANONYMOUS, ChannelLimits(), **options
        )

    async def _write(self, message: bytes) -> None:
        decoded = json.loads(message)
        if "id" in decoded:
            wire_schema.check_response(wire_schema.MODERN, decoded)
        self.sent.append(decoded)


async def test_a_channel_answers_and_ends() -> None:
    line = Line()
    line.channel.start()
    await line.channel.take(ECHO)
    await line.channel.finish(1)

    assert [each["id"] for each in line.sent] == [1]
    assert not line.channel.busy


async def test_the_surface_reaches_the_tools() -> None:
    line = Line(surface="small")
    await line.channel.take(json.dumps(rpc("tools/list", _meta=META)).encode())
    await line.channel.finish(1)

    assert len(line.sent[0]["result"]["tools"]) == 1


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        (ECHO, [1]),
        (b"[" + ECHO + b"]", [None]),
        (b'{"jsonrpc":"1.0","id":"a"}', ["a"]),
        (b"{", [None]),
        (b'{"jsonrpc":"2.0","method":"notifications/initialized"}', []),
        (b'{"jsonrpc":"2.0","id":1,"result":{}}', []),
    ],
)
async def test_what_is_refused_is_answered_if_it_wants_an_answer(
    text: bytes, ids: list[Any]
) -> None:
    line = Line()
    await line.channel.refuse(text, RateLimitedError("Send fewer."))

    assert [each["id"] for each in line.sent] == ids
    assert all(each["error"]["data"]["code"] == "rate_limited" for each in line.sent)
    assert line.host.calls == []


async def test_the_client_is_asked_for_anew_before_each_request() -> None:
    seen: list[str] = []

    async def renew(principal: Principal) -> Principal:
        seen.append(principal.subject)
        if len(seen) > 2:
            raise UnauthenticatedError("The key was revoked.")
        return ALICE

    line = Line(renew=renew)
    for _ in range(3):
        await line.channel.take(ECHO)
        await until(lambda: not line.channel.busy)

    assert seen == ["anonymous", "alice", "alice"]
    assert [each[0].subject for each in line.host.calls] == ["alice", "alice"]
    assert line.sent[-1]["error"]["data"]["code"] == "unauthenticated"


async def test_an_abandoned_channel_cancels_what_runs() -> None:
    line = Line()
    line.channel.start()
    await line.channel.take(json.dumps(rpc("tools/call", name="slow", _meta=META)).encode())
    await line.host.slow_started.wait()
    assert line.channel.busy
    line.channel.abandon()
    await line.channel.finish(0)

    assert line.host.slow_cancelled.is_set()
    assert line.sent == []


async def test_large_answers_that_nobody_reads_are_replaced_and_small_ones_kept() -> None:
    line, reading = Line(), asyncio.Event()
    sent = line.channel._write_one

    async def write(message: bytes) -> None:
        await reading.wait()
        await sent(message)

    line.channel._write_one = write
    large = json.dumps(
        rpc("tools/call", 2, name="echo", arguments={"text": "x" * 3_000_000}, _meta=META)
    )
    for _ in range(12):
        await line.channel.take(large.replace('"id": 2', f'"id": "l{_}"').encode())
    await line.channel.take(ECHO)
    while len(line.channel._tasks) and line.channel._unread < 30_000_000:  # noqa: ASYNC110
        await asyncio.sleep(0)
    reading.set()
    await line.channel.finish(5)

    failed = [each for each in line.sent if "error" in each]
    assert failed
    assert {each["error"]["data"]["code"] for each in failed} == {"overloaded"}
    assert any(each["id"] == 1 and "result" in each for each in line.sent)


async def test_what_the_end_cuts_short_is_answered_even_if_it_does_not_let_go() -> None:
    line = Line()
    for number, name in enumerate(("slow", "stubborn")):
        message = rpc("tools/call", number, name=name, arguments={}, _meta=META)
        await line.channel.take(json.dumps(message).encode())
    await line.channel.take(ECHO.replace(b'"id": 1', b'"id": "quick"'))
    await until(lambda: bool(line.sent))
    await line.channel.finish(0)

    assert [each["id"] for each in line.sent] == ["quick", 0, 1]
    for each in line.sent[1:]:
        assert each["error"]["data"]["details"] == {"outcome": "unknown"}
    line.host.stubborn.set()
    await until(lambda: not line.channel.busy)
    assert len(line.sent) == 3


async def test_what_is_no_message_is_counted_as_a_call() -> None:
    line = Line()
    line.host.may_charge = 2
    for text in (b"{", b'{"jsonrpc":"1.0","id":"a"}', b"{"):
        await line.channel.take(text)
    await line.channel.reject("The line is too long.")

    codes = [each["error"]["data"]["code"] for each in line.sent]
    assert codes == [*["invalid_arguments"] * 2, *["rate_limited"] * 2]


async def test_a_request_is_refused_while_too_much_of_its_caller_waits_to_be_read() -> None:
    budget = UnreadBudget(400)
    line = Line(unread=budget)
    with budget.hold("anonymous", 400):
        await line.channel.take(ECHO)
    await line.channel.take(ECHO)
    await line.channel.finish(1)

    assert line.sent[0]["error"]["data"]["code"] == "overloaded"
    assert "details" not in line.sent[0]["error"]["data"]
    assert "result" in line.sent[1]
    assert len(line.host.calls) == 1

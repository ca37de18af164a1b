"""A small real tool host and a key ring, for tests of the protocol and its transports.

`python -m tests.sample_host` serves it over standard input and output.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.errors import (
    ConflictError,
    InvalidArgumentsError,
    NotFoundError,
    RateLimitedError,
    UnauthenticatedError,
    UnavailableError,
    UnknownToolError,
)
from kailash_mcp_prod.protocol import Ask, Audience, Completions, Peer, ToolContent
from kailash_mcp_prod.protocol.peer import SILENT
from kailash_mcp_prod.tools.lists import EncodedList

FORM = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
ASKED = {"message": "Why?", "requestedSchema": FORM}
ALICE = Principal("alice", frozenset({"*"}), method="api_key")
BOB = Principal("bob", frozenset({"tool:echo"}), method="api_key")


def _tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"The tool {name}.", "inputSchema": {"type": "object"}}


class SampleHost:
    """Tools with every way to end, and resources and prompts that change."""

    names = (
        "echo",
        "add",
        "slow",
        "stubborn",
        "report",
        "ask",
        "ask twice",
        "draw",
        "job",
        "pause",
        "conflict",
        "crash",
        "lost",
        "print",
    )

    def __init__(self) -> None:
        self.calls: list[tuple[Principal, str, dict[str, Any], str]] = []
        self.charged: list[Principal] = []
        self.may_charge = 1000
        self.stubborn = asyncio.Event()
        self.listeners: list[Callable[[], None]] = []
        self.called = asyncio.Event()
        self.slow_started = asyncio.Event()
        self.slow_running = 0
        self.slow_cancelled = asyncio.Event()
        self.release_slow = asyncio.Event()
        self.is_ready = asyncio.Event()
        self.is_ready.set()
        self.broken = False
        self.listening = asyncio.Event()

    def check_surface(self, principal: Principal, name: str) -> None:
        if name not in {"full", "small"}:
            raise NotFoundError(f"There is no surface {name!r}.")

    async def charge(self, principal: Principal) -> None:
        self.charged.append(principal)
        if len(self.charged) > self.may_charge:
            raise RateLimitedError("Too many calls.", retry_after_seconds=7)

    def encoded_list(self, principal: Principal, surface: str | None = None) -> EncodedList:
        names = self.names if "*" in principal.permissions and surface != "small" else ("echo",)
        return EncodedList([_tool(name) for name in names])

    def describe(
        self, principal: Principal, name: str, surface: str | None = None
    ) -> dict[str, Any]:
        for tool in json.loads(self.encoded_list(principal, surface).body):
            if tool["name"] == name:
                return dict(tool)
        raise UnknownToolError(f"Unknown tool: {name}")

    def header_arguments(self, principal: Principal, name: str) -> dict[str, tuple[str, ...]]:
        return {"region": ("where", "region")} if name == "echo" else {}

    def on_tools_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.listeners.append(listener)
        self.listening.set()
        return lambda: self.listeners.remove(listener)

    def change(self) -> None:
        for listener in self.listeners:
            listener()

    async def ready(self) -> None:
        await self.is_ready.wait()
        if self.broken:
            raise UnavailableError("The models could not be loaded.")

    async def call(  # noqa: PLR0912 - a branch for each tool
        self,
        principal: Principal,
        name: str,
        arguments: dict[str, Any],
        *,
        request_id: str,
        surface: str | None = None,
        peer: Peer = SILENT,
        idempotency_key: str | None = None,
    ) -> dict[str, Any] | ToolContent:
        self.called.set()
        self.calls.append((principal, name, arguments, request_id))
        match name:
            case "echo":
                return arguments
            case "add":
                return {"sum": arguments["a"] + arguments["b"]}
            case "slow":
                return await self._slow()
            case "stubborn":
                return await self._stubborn()
            case "pause":
                await peer.pause_stream()
                return await self._slow()
            case "report":
                for step in (1, 2, 2, 3):
                    await peer.progress(step, total=3, message=f"step {step}")
                await peer.log("debug", "a detail", "sample")
                await peer.log("warning", {"look": "here"})
                return {"steps": 3}
            case "ask":
                answer = await peer.elicit("Who are you?", FORM)
                return {"answer": answer}
            case "ask twice":
                first = await peer.elicit("First?", FORM, "first")
                second = await peer.elicit("Second?", FORM, "second")
                return {"first": first, "second": second}
            case "draw":
                return ToolContent([{"type": "text", "text": "a drawing"}], {"lines": 3})
            case "job":
                return await self._job(arguments, peer)
            case "conflict":
                raise ConflictError("The name is taken.", field="data.name")
            case "crash":
                raise RuntimeError("secret of the driver")
            case "lost":
                raise asyncio.CancelledError
            case "print":
                print("stray output of Python")  # noqa: T201
                ctypes.CDLL(None).puts(b"stray output of C")
                ctypes.CDLL(None).fflush(None)
                os.write(1, b"stray output of the system\n")
                return {"standard_input": os.read(0, 10).decode()}
        raise UnknownToolError(f"Unknown tool: {name}")

    async def _job(self, arguments: dict[str, Any], peer: Peer) -> dict[str, Any]:
        await peer.defer(required=arguments.get("required", False))
        await peer.progress(1, message="under way")
        if arguments.get("fail"):
            raise UnknownToolError("There is no such part.")
        if arguments.get("crash"):
            raise RuntimeError("secret of the driver")
        if arguments.get("ask"):
            return {"answer": await peer.elicit("Go on?", FORM, "sure")}
        if arguments.get("slow"):
            return await self._slow()
        return {"job": "done"}

    async def _stubborn(self) -> dict[str, Any]:
        """Goes on until `stubborn` is set, whoever cancels it."""
        self.slow_started.set()
        while not self.stubborn.is_set():
            with contextlib.suppress(asyncio.CancelledError):
                await self.stubborn.wait()
        return {"stubborn": "done"}

    async def _slow(self) -> dict[str, Any]:
        self.slow_started.set()
        self.slow_running += 1
        try:
            await self.release_slow.wait()
        except asyncio.CancelledError:
            self.slow_cancelled.set()
            raise
        finally:
            self.slow_running -= 1
        return {"slow": "done"}


class SampleContent:
    """Resources `sample://0` to `sample://149`, two prompts, and what completes them."""

    def __init__(self) -> None:
        self.texts = {f"sample://{number}": f"text {number}" for number in range(150)}
        self.resource_listeners: list[Callable[[], None]] = []
        self.update_listeners: list[Callable[[Sequence[str], Audience], None]] = []
        self.prompt_listeners: list[Callable[[], None]] = []

    async def resources(self, principal: Principal) -> list[dict[str, Any]]:
        seen = self.texts if "*" in principal.permissions else list(self.texts)[:1]
        return [{"uri": uri, "name": uri, "mimeType": "text/plain"} for uri in seen]

    async def templates(self, principal: Principal) -> list[dict[str, Any]]:
        return [{"uriTemplate": "sample://{number}", "name": "number"}]

    async def read_resource(
        self, principal: Principal, uri: str, *, request_id: str, peer: Peer
    ) -> list[dict[str, Any]]:
        if uri not in [each["uri"] for each in await self.resources(principal)]:
            raise NotFoundError("There is no such text.")
        if uri == "sample://13":
            answer = await peer.ask({"why": Ask("elicitation/create", {**ASKED})})
            return [{"uri": uri, "text": answer["why"]["content"]["name"]}]
        return [{"uri": uri, "mimeType": "text/plain", "text": self.texts[uri]}]

    def change(self, *uris: str, audience: Audience = lambda _principal: True) -> None:
        for listener in self.update_listeners:
            listener(uris, audience)

    def change_lists(self) -> None:
        for listener in (*self.resource_listeners, *self.prompt_listeners):
            listener()

    def on_resources_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.resource_listeners.append(listener)
        return lambda: self.resource_listeners.remove(listener)

    def on_resources_updated(
        self, listener: Callable[[Sequence[str], Audience], None]
    ) -> Callable[[], None]:
        self.update_listeners.append(listener)
        return lambda: self.update_listeners.remove(listener)

    async def prompts(self, principal: Principal) -> list[dict[str, Any]]:
        return [{"name": "greet", "arguments": [{"name": "whom", "required": True}]}]

    async def get_prompt(
        self,
        principal: Principal,
        name: str,
        arguments: Mapping[str, str],
        *,
        request_id: str,
        peer: Peer,
    ) -> dict[str, Any]:
        if name != "greet":
            raise NotFoundError("There is no such prompt.")
        if "whom" not in arguments:
            raise InvalidArgumentsError("arguments.whom is missing.", field="arguments.whom")
        text = f"Greet {arguments['whom']}."
        return {"messages": [{"role": "user", "content": {"type": "text", "text": text}}]}

    def on_prompts_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        self.prompt_listeners.append(listener)
        return lambda: self.prompt_listeners.remove(listener)

    async def complete(
        self,
        principal: Principal,
        reference: dict[str, Any],
        argument: str,
        value: str,
        given: Mapping[str, str],
        *,
        request_id: str,
    ) -> Completions:
        if argument != "number":
            raise NotFoundError("There is nothing to complete.")
        numbers = [str(number) for number in range(150) if str(number).startswith(value)]
        return Completions(numbers)


class KeyRing:
    """Knows the keys `alice-key` and `bob-key`, as API keys or bearer tokens."""

    def __init__(self, *, anonymous: bool = True) -> None:
        self.anonymous = anonymous
        self.seen: list[Credentials] = []
        self.expires_at: float | None = None
        self.permissions: frozenset[str] | None = None

    async def authenticate(self, credentials: Credentials) -> Principal:
        self.seen.append(credentials)
        key = credentials.api_key or credentials.bearer_token
        principal = {"alice-key": ALICE, "bob-key": BOB}.get(key or "")
        if principal is None:
            if key is None and self.anonymous:
                return ANONYMOUS
            raise UnauthenticatedError("The key is missing or wrong.")
        permissions = principal.permissions if self.permissions is None else self.permissions
        return replace(principal, expires_at=self.expires_at, permissions=permissions)


async def _serve() -> None:
    from kailash_mcp_prod.protocol import Dispatcher
    from kailash_mcp_prod.transports.stdio import StdioTransport

    dispatcher = Dispatcher(SampleHost(), instructions="Echo what you hear.")
    async with StdioTransport(dispatcher, KeyRing()) as transport:
        await transport.wait_closed()
    print("standard output is restored")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_serve())

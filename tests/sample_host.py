"""A small real tool host and a key ring, for tests of the protocol and its transports.

`python -m tests.sample_host` serves it over standard input and output.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from kailash_mcp_prod.auth.principal import ANONYMOUS, Credentials, Principal
from kailash_mcp_prod.errors import (
    ConflictError,
    UnauthenticatedError,
    UnavailableError,
    UnknownToolError,
)

ALICE = Principal("alice", frozenset({"*"}), method="api_key")
BOB = Principal("bob", frozenset({"tool:echo"}), method="api_key")


def _tool(name: str) -> dict[str, Any]:
    return {"name": name, "description": f"The tool {name}.", "inputSchema": {"type": "object"}}


class SampleHost:
    """Tools with every way to end: `echo add slow conflict crash lost print`."""

    names = ("echo", "add", "slow", "conflict", "crash", "lost", "print")

    def __init__(self) -> None:
        self.calls: list[tuple[Principal, str, dict[str, Any], str]] = []
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

    def tool_list(self, principal: Principal) -> bytes:
        names = self.names if "*" in principal.permissions else ("echo",)
        return json.dumps([_tool(name) for name in names]).encode()

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

    async def call(
        self, principal: Principal, name: str, arguments: dict[str, Any], *, request_id: str
    ) -> dict[str, Any]:
        self.called.set()
        self.calls.append((principal, name, arguments, request_id))
        match name:
            case "echo":
                return arguments
            case "add":
                return {"sum": arguments["a"] + arguments["b"]}
            case "slow":
                return await self._slow()
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


class KeyRing:
    """Knows the keys `alice-key` and `bob-key`, as API keys or bearer tokens."""

    def __init__(self, *, anonymous: bool = True) -> None:
        self.anonymous = anonymous
        self.seen: list[Credentials] = []
        self.expires_at: float | None = None

    async def authenticate(self, credentials: Credentials) -> Principal:
        self.seen.append(credentials)
        key = credentials.api_key or credentials.bearer_token
        principal = {"alice-key": ALICE, "bob-key": BOB}.get(key or "")
        if principal is None:
            if key is None and self.anonymous:
                return ANONYMOUS
            raise UnauthenticatedError("The key is missing or wrong.")
        return replace(principal, expires_at=self.expires_at)


async def _serve() -> None:
    from kailash_mcp_prod.protocol import Dispatcher
    from kailash_mcp_prod.transports.stdio import StdioTransport

    dispatcher = Dispatcher(SampleHost(), instructions="Echo what you hear.")
    async with StdioTransport(dispatcher, KeyRing()) as transport:
        await transport.wait_closed()
    print("standard output is restored")  # noqa: T201


if __name__ == "__main__":
    asyncio.run(_serve())

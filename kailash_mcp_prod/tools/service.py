"""The one way to call a tool: every transport, workflow step and Python caller comes through."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import Callable
from typing import Any

import msgspec
import structlog.contextvars

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import (
    CallTimeoutError,
    InternalError,
    Interruption,
    ServerError,
    UnavailableError,
    UnknownToolError,
)
from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.tools.header_arguments import HeaderPaths, header_paths
from kailash_mcp_prod.tools.peer import NOBODY, Peer
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

log = get_logger(__name__)

_MAX_ENCODED_LISTS = 256

CallListener = Callable[[ToolSpec, Principal, dict[str, Any]], None]
"""Hears of a successful call: the tool, who called, and the result."""


class ToolService:
    """Lists and calls tools: policy, limits and time-out stand before every handler.

    Args:
        registry: The tools.
        policy: What a principal may call, and so may see.
        rates: How often it may call.
        concurrency: How many calls run and wait at once.
        timeout_seconds: How long one call may take.
        list_output_schemas: Whether tool lists carry the result schemas, half as long again.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        policy: Policy,
        rates: RateLimit,
        concurrency: ConcurrencyLimit,
        *,
        timeout_seconds: float,
        list_output_schemas: bool = False,
    ) -> None:
        self.registry = registry
        self._policy = policy
        self._rates = rates
        self._concurrency = concurrency
        self._timeout_seconds = timeout_seconds
        self._list_output_schemas = list_output_schemas
        self._encoded: dict[frozenset[str], bytes] = {}
        registry.subscribe(self._forget)
        self._header_paths: dict[str, HeaderPaths] = {}
        self._call_listeners: dict[object, CallListener] = {}
        self._ready = asyncio.Event()
        self._failed = False

    def visible(self, principal: Principal) -> list[ToolSpec]:
        """The tools that the principal may call, in order."""
        return [tool for tool in self.registry if self.allows(principal, tool)]

    def allows(self, principal: Principal, tool: ToolSpec) -> bool:
        """Whether the principal may call the tool, be it in the registry or not."""
        return self._policy.allows(principal, tool)

    def has_surface(self, name: str) -> bool:
        """Whether there is a set of tools of this name."""
        return name == "full"

    def tool_list(self, principal: Principal, surface: str | None = None) -> bytes:
        """The visible tools as an encoded JSON array; encoded once for each set of permissions."""
        encoded = self._encoded.get(principal.permissions)
        if encoded is None:
            tools = [
                tool.to_mcp(with_output_schema=self._list_output_schemas)
                for tool in self.visible(principal)
            ]
            if len(self._encoded) >= _MAX_ENCODED_LISTS:
                del self._encoded[next(iter(self._encoded))]
            encoded = self._encoded[principal.permissions] = msgspec.json.encode(tools)
        return encoded

    async def call(
        self,
        principal: Principal,
        name: str,
        arguments: dict[str, Any],
        *,
        request_id: str,
        surface: str | None = None,
        peer: Peer = NOBODY,
    ) -> dict[str, Any]:
        """Runs a tool and returns its structured result.

        Args:
            principal: Who calls.
            name: The tool.
            arguments: Its arguments as JSON values; validated here.
            request_id: Stands in the log and in errors.
            surface: The set of tools among which it is; `None` for the principal's own.
            peer: The client that calls.

        Raises:
            ServerError: The call failed, for a reason that the caller may see.
            Interruption: The client has to answer something first. Nothing else but
                `asyncio.CancelledError` is ever raised.
        """
        # Bound for all that is logged below, so that a request id leads to every line of its call.
        with structlog.contextvars.bound_contextvars(request_id=request_id, tool=name[:128]):
            call = ToolCall(principal, arguments, request_id, peer)
            return await self._call(call, lambda: self._find(principal, name))

    async def run(
        self, principal: Principal, tool: ToolSpec, *, request_id: str, peer: Peer = NOBODY
    ) -> dict[str, Any]:
        """Runs a tool that no list shows, such as what reads a resource, as `call` does.

        Args:
            principal: Who calls.
            tool: The tool; it gets no arguments.
            request_id: Stands in the log and in errors.
            peer: The client that calls.

        Raises:
            ServerError: As for `call`; `UnknownToolError` when the principal may not call it.
        """
        with structlog.contextvars.bound_contextvars(request_id=request_id, tool=tool.name):
            call = ToolCall(principal, {}, request_id, peer)
            return await self._call(call, lambda: self._allowed(principal, tool))

    async def _call(self, call: ToolCall, find: Callable[[], ToolSpec]) -> dict[str, Any]:
        try:
            await self._rates.take(call.principal)
            tool = find()
            async with self._concurrency.slot():
                result = await self._run(tool, call)
            if self._call_listeners:
                self._tell(tool, call.principal, result)
            return result
        except ServerError as error:
            log.info("call_failed", code=error.code)
            raise
        except Interruption:
            raise
        except Exception as defect:
            log.exception("call_broke")
            raise InternalError(
                "The server could not do this. Report the request id to its operator."
            ) from defect

    async def _run(self, tool: ToolSpec, call: ToolCall) -> dict[str, Any]:
        try:
            async with asyncio.timeout(self._timeout_seconds) as deadline:
                return await tool.handler(call)
        except TimeoutError:
            if not deadline.expired():
                raise
            seconds = f"{self._timeout_seconds:g} s"
            if tool.hints.read_only:
                raise CallTimeoutError(
                    f"{tool.name} took longer than {seconds} and was stopped. Ask for less at "
                    "once, or try again."
                ) from None
            raise CallTimeoutError(
                f"{tool.name} took longer than {seconds} and was stopped. See whether its change "
                "was stored before you try again.",
                details={"outcome": "unknown"},
            ) from None

    def on_called(self, listener: CallListener) -> Callable[[], None]:
        """Calls the listener after each successful call; the returned function ends that.

        It runs before the result goes out, so it should be quick. What it raises is logged and
        changes nothing for the caller.

        Example:
            ```python
            end = service.on_called(lambda tool, principal, result: seen.append(tool.name))
            ```
        """
        key = object()
        self._call_listeners[key] = listener
        return lambda: self._forget_listener(key)

    def _forget_listener(self, key: object) -> None:
        self._call_listeners.pop(key, None)

    def _tell(self, tool: ToolSpec, principal: Principal, result: dict[str, Any]) -> None:
        for listener in tuple(self._call_listeners.values()):
            try:
                listener(tool, principal, result)
            except Exception:
                # The call is done; a listener's defect must not make it look undone.
                log.exception("call_listener_broke")

    def _allowed(self, principal: Principal, tool: ToolSpec) -> ToolSpec:
        if not self.allows(principal, tool):
            raise UnknownToolError(f"Unknown tool '{tool.name}'.", field="name")
        return tool

    def _find(self, principal: Principal, name: str) -> ToolSpec:
        tool = self.registry.get(name)
        if tool is not None and self.allows(principal, tool):
            return tool
        names = [each.name for each in self.visible(principal)]
        similar = difflib.get_close_matches(name[:128], names, n=3)
        hint = f" Did you mean {' or '.join(similar)}?" if similar else " List the tools for names."
        raise UnknownToolError(
            f"Unknown tool '{name[:128]}'.{hint}",
            field="name",
            details={"similar": similar} if similar else None,
        )

    def header_arguments(self, name: str) -> HeaderPaths:
        """Which arguments of a tool clients repeat in headers, by the header's name."""
        paths = self._header_paths.get(name)
        if paths is None:
            tool = self.registry.get(name)
            if tool is None:
                return {}
            paths = self._header_paths[name] = header_paths(tool.input_schema)
        return paths

    def _forget(self) -> None:
        self._encoded.clear()
        self._header_paths.clear()

    def on_tools_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener whenever the tools change; the returned function ends that.

        Until the tools are ready nobody can have seen any, so there is no change to tell.
        """
        return self.registry.subscribe(lambda: listener() if self._ready.is_set() else None)

    def mark_ready(self) -> None:
        """Lets `ready` return: the tools are there."""
        self._failed = False
        self._ready.set()

    def mark_failed(self) -> None:
        """Lets `ready` raise: the models could not be loaded."""
        self._failed = True
        self._ready.set()

    async def ready(self) -> None:
        """Waits until tools can be listed and called.

        Raises:
            UnavailableError: The models could not be loaded.
        """
        await self._ready.wait()
        if self._failed:
            raise UnavailableError("The server could not start; its log says why.")

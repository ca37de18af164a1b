"""The one way to call a tool: every transport, workflow step and Python caller comes through."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.delays import Delays
from kailash_mcp_prod.errors import (
    InternalError,
    Interruption,
    ServerError,
    UnavailableError,
)
from kailash_mcp_prod.guard.breakers import Breakers, Passage
from kailash_mcp_prod.guard.deadline import Deadline
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.observe.logs import get_logger, of_the_call
from kailash_mcp_prod.records.turns import caller
from kailash_mcp_prod.tools.call_listeners import CallListener, CallListeners
from kailash_mcp_prod.tools.call_reports import CallReport, CallWatchers
from kailash_mcp_prod.tools.claimed_session import NO_SESSIONS, in_session
from kailash_mcp_prod.tools.header_arguments import HeaderArguments, HeaderPaths
from kailash_mcp_prod.tools.keys import for_tool, with_key
from kailash_mcp_prod.tools.kinds import kind_of
from kailash_mcp_prod.tools.lists import EncodedList
from kailash_mcp_prod.tools.peer import NOBODY, Peer
from kailash_mcp_prod.tools.readiness import Readiness
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.resolving import Resolver
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec
from kailash_mcp_prod.tools.surfaces.base import Resolved
from kailash_mcp_prod.tools.surfaces.catalogue import Catalogue
from kailash_mcp_prod.tools.surfaces.names import FULL
from kailash_mcp_prod.tools.surfaces.unknown import unknown_tool
from kailash_mcp_prod.tools.timeouts import took_too_long
from kailash_mcp_prod.tools.visibility import Visibility

if TYPE_CHECKING:
    from kailash_mcp_prod.tools.stages import Handlers, Places, Reads

log = get_logger(__name__)


class ToolService:
    """Lists and calls tools: policy, limits and time-out stand before every handler.

    Args:
        registry: The tools.
        policy: What a principal may call, and so may see.
        rates: How often it may call.
        concurrency: How many calls run and wait at once.
        breakers: Which backends and tools are left alone because they failed.
        timeout_seconds: How long one call may take.
        list_output_schemas: Whether tool lists carry the exact schemas, those of results too.
        surface: The surface for those whose request and credential name none.
        reads: Answers for tools that read what it knows; `None` asks the tools each time.
        turns: Who is next at a backend; `None` lets the backend see to that.
    """

    def __init__(
        self,
        registry: ToolRegistry,
        policy: Policy,
        rates: RateLimit,
        concurrency: Places,
        breakers: Breakers,
        *,
        timeout_seconds: float,
        list_output_schemas: bool = False,
        surface: str = FULL,
        reads: Reads | None = None,
        turns: Handlers | None = None,
    ) -> None:
        self.registry = registry
        self.sessions = NO_SESSIONS
        self.visibility = Visibility(policy)
        self.rates = rates
        self._concurrency = concurrency
        self.breakers = breakers
        self._timeout_seconds = timeout_seconds
        self._timeouts = Delays(timeout_seconds)
        self._catalogue = Catalogue(registry, policy, complete=list_output_schemas)
        self.resolver = Resolver(self._catalogue, surface)
        self._reads = reads
        self._turns = turns
        self._header_arguments = HeaderArguments(registry, self._catalogue.full.find)
        self.listeners = CallListeners()
        self.watchers = CallWatchers()
        self._readiness = Readiness()
        self._draining = self._leaving = False

    def visible(self, principal: Principal) -> list[ToolSpec]:
        """The tools that the principal may call, in order."""
        return self._catalogue.full.tools(principal)

    def allows(self, principal: Principal, tool: ToolSpec) -> bool:
        """Whether the principal may call the tool, be it in the registry or not."""
        return self.visibility.tool(principal, tool) is not None

    def check_surface(self, principal: Principal, name: str) -> None:
        """See whether there is a surface for a principal, such as `models/Company,Quote`.

        Raises:
            NotFoundError: There is none, or it names a model of which the principal may do nothing.
        """
        self._catalogue.check(principal, name)

    def surface_for(self, principal: Principal, requested: str | None = None) -> str:
        """The surface of a request: the one it names, else the credential's, else the server's.

        Args:
            principal: Who asks. A surface of its credential that does not exist counts as none.
            requested: What the request names.

        Raises:
            NotFoundError: The request names a surface that does not exist for the principal.
        """
        return self.resolver.surface_for(principal, requested)

    def encoded_list(self, principal: Principal, surface: str | None = None) -> EncodedList:
        """The tools of a surface that the principal sees, encoded once for its permissions.

        Args:
            principal: Who asks.
            surface: The surface; `None` for the principal's own.

        Raises:
            NotFoundError: There is no such surface.
        """
        return self._catalogue.encoded(principal, self.surface_for(principal, surface))

    def describe(
        self, principal: Principal, name: str, surface: str | None = None
    ) -> dict[str, Any]:
        """One listed tool as an MCP `Tool` object with its exact schemas.

        Raises:
            NotFoundError: There is no such surface, or no such tool on it.
        """
        return self.resolver.describe(principal, name, surface)

    async def call(
        self,
        principal: Principal,
        name: str,
        arguments: dict[str, Any],
        *,
        request_id: str,
        surface: str | None = None,
        peer: Peer = NOBODY,
        idempotency_key: str | None = None,
    ) -> dict[str, Any]:
        """Runs a tool and returns its structured result.

        Args:
            principal: Who calls.
            name: The tool.
            arguments: Its arguments as JSON values; validated here.
            request_id: Stands in the log and in errors.
            surface: Where the name is looked up; `None` for the principal's own surface. What a
                tool of a surface stands for is checked, counted and run once, as if it had been
                called itself.
            peer: The client that calls.
            idempotency_key: As the argument `_idempotency_key`, for those whose transport has a
                place for it.

        Raises:
            ServerError: The call failed, for a reason that the caller may see.
            Interruption: The client has to answer something first. Nothing else but
                `asyncio.CancelledError` is ever raised.
        """
        # Bound for all that is logged below, so that a request id leads to every line of its call.
        before = of_the_call.set({"request_id": request_id, "tool": name[:128]})
        try:
            call = ToolCall(principal, arguments, request_id, peer, idempotency_key)
            return await self._call(call, name, lambda: self.resolver.resolve(call, name, surface))
        finally:
            of_the_call.reset(before)

    async def call_part(self, call: ToolCall, name: str) -> dict[str, Any]:
        """Runs a tool for a call that runs, such as a step of it, as `call` does.

        It is counted and checked as a call of its own, by the names of the full surface. Only the
        place in which the whole call runs is that of its parts too.
        """
        before = of_the_call.set({"request_id": call.request_id, "tool": name[:128]})
        try:
            return await self._call(
                call, name, lambda: self.resolver.resolve(call, name, FULL), is_part=True
            )
        finally:
            of_the_call.reset(before)

    async def run_part(self, call: ToolCall, tool: ToolSpec) -> dict[str, Any]:
        """Runs a tool that no list shows for a call that runs, as `call_part` does."""
        return await self._call(call, tool.name, lambda: self._allowed(call, tool), is_part=True)

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
        before = of_the_call.set({"request_id": request_id, "tool": tool.name})
        try:
            call = ToolCall(principal, {}, request_id, peer)
            return await self._call(call, tool.name, lambda: self._allowed(call, tool))
        finally:
            of_the_call.reset(before)

    async def _call(
        self, call: ToolCall, name: str, resolve: Callable[[], Resolved], *, is_part: bool = False
    ) -> dict[str, Any]:
        report = self.watchers.begin(call, name, is_part=is_part)
        if report is None:
            return await self._attempt(call, resolve, is_part, None)
        try:
            result = await self._attempt(call, resolve, is_part, report)
        except BaseException as failure:
            await self.watchers.fail(report, failure)
            raise
        await self.watchers.succeed(report, result)
        return result

    async def _attempt(
        self,
        call: ToolCall,
        resolve: Callable[[], Resolved],
        is_part: bool,
        report: CallReport | None,
    ) -> dict[str, Any]:
        subject = call.principal.subject
        caller.set(subject)
        try:
            meant = await self._admit(call.principal, resolve, is_part)
            if report is not None:
                report.tool, report.call = meant.tool, meant.call
                await self.watchers.admit(report)
            async with nullcontext() if is_part else self._concurrency.slot(subject):
                try:
                    with self.breakers.around(meant.tool.backend, meant.tool.name) as passage:
                        if passage.probes:
                            await passage.ask()
                        passage.used = not meant.tool.runs_others
                        own, run = for_tool(with_key(meant.call), meant.tool), self._run
                        if own.session_id is not None:
                            run = partial(in_session, self.sessions, run)
                        result = await run(meant.tool, own, passage)
                        if report is not None:
                            report.from_cache = not (passage.used or meant.tool.runs_others)
                except ServerError as error:
                    if meant.below is None:
                        raise
                    raise error.below(meant.below) from error
            self.listeners.tell(meant.tool, call.principal, result)
            return result
        except (ServerError, Interruption):
            raise
        except Exception as defect:
            log.exception("call_broke")
            raise InternalError(
                "The server could not do this. Report the request id to its operator."
            ) from defect

    async def _admit(
        self, principal: Principal, resolve: Callable[[], Resolved], is_part: bool
    ) -> Resolved:
        """What the call comes to, if it may be made now; counts it."""
        if self._draining and not is_part:
            raise UnavailableError("The server is shutting down.", retry_after_seconds=1)
        # First, because to resolve a name that is not there costs more than to refuse.
        self.rates.check(principal)
        try:
            meant = resolve()
        except ServerError:
            # A guess costs what a call costs.
            await self.rates.take(principal)
            raise
        await self.rates.take(principal, kind_of(meant.tool))
        self.breakers.check(meant.tool.backend, meant.tool.name)
        return meant

    async def _run(self, tool: ToolSpec, call: ToolCall, passage: Passage) -> dict[str, Any]:
        try:
            with Deadline(self._timeouts) as deadline:
                if call.within is not None:
                    # Whoever began the transaction has the turn, and sees what nobody else does.
                    return await tool.handler(call)
                handle = tool.handler if self._turns is None else self._turns.of(tool)
                if self._reads is not None:
                    return await self._reads.run(tool, call, passage, handle)
                return await handle(call)
        except TimeoutError:
            if not deadline.expired:
                raise
            raise took_too_long(tool, self._timeout_seconds) from None

    def on_called(self, listener: CallListener) -> Callable[[], None]:
        """Calls the listener after each successful call; the returned function ends that.

        It runs before the result goes out, so it should be quick.
        """
        return self.listeners.add(listener)

    def _allowed(self, call: ToolCall, tool: ToolSpec) -> Resolved:
        if not self.allows(call.principal, tool):
            raise unknown_tool(tool.name, [])
        return Resolved(tool, call)

    async def charge(self, principal: Principal) -> None:
        """Counts a message that is no call, as if it were one.

        Raises:
            RateLimitedError: The principal has used up its calls.
        """
        await self.rates.take(principal)

    def header_arguments(self, principal: Principal, name: str) -> HeaderPaths:
        """Which arguments of a tool clients repeat in headers, by the header's name.

        None of one that the principal may not call: a complaint of them would show that it exists.
        """
        return self._header_arguments.of(principal, name)

    def on_tools_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Calls the listener whenever the tools change; the returned function ends that.

        Until the tools are ready nobody can have seen any, so there is no change to tell.
        """
        return self.registry.subscribe(lambda: listener() if self._readiness.is_known else None)

    def announce_drain(self) -> None:
        """Says that the server is about to shut down; calls are still taken."""
        self._leaving = True

    async def drain(self, seconds: float) -> bool:
        """Refuses new calls from now on, and lets those finish that run or wait.

        Args:
            seconds: How long they may take.

        Returns:
            Whether all of them have ended.
        """
        self._draining = True
        all_ended = await self._concurrency.idle_within(seconds)
        if not all_ended:
            log.warning("calls_outlast_the_drain", seconds=seconds)
        return all_ended

    @property
    def is_draining(self) -> bool:
        """Whether new calls are refused, or soon will be, because the server is shutting down."""
        return self._draining or self._leaving

    def mark_ready(self) -> None:
        """Lets `ready` return: the tools are there."""
        self._draining = self._leaving = False
        self._readiness.mark(good=True)

    def mark_failed(self) -> None:
        """Lets `ready` raise: the models could not be loaded."""
        self._readiness.mark(good=False)

    @property
    def is_ready(self) -> bool:
        """Whether the tools are there."""
        return self._readiness.is_good

    async def ready(self) -> None:
        """Waits until tools can be listed and called.

        Raises:
            UnavailableError: The models could not be loaded.
        """
        await self._readiness.wait()

"""Reads that were called before, looked at once and then answered from the cache.

As a prepared statement is parsed once. Drain, circuits, limits, cache and those who watch calls are
passed as in `ToolService.call`; a place to run in is not taken, because nothing runs. This is only
for what the cache of this process can answer at once. Where anything else would have to be asked,
or the answer would be a refusal, nothing is done here, and the call is made as usual.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.guard.cache_entries import Key
from kailash_mcp_prod.observe.logs import of_the_call
from kailash_mcp_prod.tools.caching import CachedReads
from kailash_mcp_prod.tools.keys import for_tool, with_key
from kailash_mcp_prod.tools.kinds import kind_of
from kailash_mcp_prod.tools.peer import NOBODY, Peer
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.tools.service import ToolService

LONGEST: Final = 4 * 1024
"""Longer results are not answered from here: who prepares reads keeps their results too."""

_decoder = msgspec.json.Decoder(dict[str, Any])


class PreparedReads:
    """Prepares reads of one service.

    Args:
        service: The service.
        reads: Its cache.
    """

    def __init__(self, service: ToolService, reads: CachedReads) -> None:
        self.service = service
        self.reads = reads
        self._changes = 0
        self._tools: dict[str, bool] = {}
        self._tools_version = self.version
        service.registry.subscribe(self._note_change)

    @property
    def version(self) -> tuple[int, int]:
        """Changes whenever a call may come to something else than before."""
        return self._changes, self.reads.generation

    def may_repeat(self, name: str | None) -> bool:
        """Whether a tool reads what is cached, for anybody, as long as the tools stay the same."""
        if self._tools_version != self.version:
            self._tools, self._tools_version = {}, self.version
        known = self._tools.get(name or "")
        if known is None:
            tool = self.service.registry.get(name or "")
            if tool is None:
                return False
            known = self._tools[tool.name] = self.reads.keeps(tool)
        return known

    def prepare(
        self,
        principal: Principal,
        name: str,
        arguments: dict[str, Any],
        *,
        surface: str | None = None,
        peer: Peer = NOBODY,
    ) -> PreparedRead | None:
        """The read that a call comes to; `None` when it is none that is cached.

        Args:
            principal: Who calls.
            name: The tool.
            arguments: Its arguments as JSON values.
            surface: As for `ToolService.call`.
            peer: A client that nothing is sent to, such as the one that calls.
        """
        try:
            asked = ToolCall(principal, arguments, "", peer)
            meant = self.service.resolver.resolve(asked, name, surface)
            own = for_tool(with_key(meant.call), meant.tool)
        except ServerError:
            return None
        place = self.reads.place_of(meant.tool, own)
        if place is None or own.session_id is not None:
            return None
        return PreparedRead(self, name, meant.tool, meant.call, place)

    def _note_change(self) -> None:
        self._changes += 1


class PreparedRead:
    """One read by one principal; see `PreparedReads.prepare`."""

    __slots__ = (
        "_body",
        "_call",
        "_key",
        "_kind",
        "_name",
        "_of",
        "_result",
        "_table",
        "_tool",
        "_version",
    )

    def __init__(
        self, of: PreparedReads, name: str, tool: ToolSpec, call: ToolCall, place: tuple[Key, str]
    ) -> None:
        self._of = of
        self._version = of.version
        self._name = name
        self._tool = tool
        self._kind = kind_of(tool)
        self._call = call
        self._key, self._table = place
        self._body: bytes | None = None
        self._result: dict[str, Any] = {}

    def holds_for(self, principal: Principal) -> bool:
        """Whether it is the principal's, and the tools are as they were."""
        return principal is self._call.principal and self._version == self._of.version

    async def again(self, principal: Principal, request_id: str) -> bytes | None:
        """The result as JSON, counted as a call of its own; the same bytes while it is the same.

        `None` when nothing was done and the call has to be made as usual.

        Args:
            principal: Who calls; has to be the very object for which the read was prepared.
            request_id: Stands in the log and in errors.

        Raises:
            ServerError: The result must not be given, as one who watches calls says.
        """
        of, tool = self._of, self._tool
        service = of.service
        if (
            not self.holds_for(principal)
            or service.is_draining
            or not service.breakers.are_closed(tool.backend, tool.name)
        ):
            return None
        room = service.rates.room(principal, self._kind)
        body = None if room is None else of.reads.cache.known(self._key, self._table, LONGEST)
        if room is None or body is None:
            return None
        service.rates.count(room)
        if body is not self._body:
            self._body, self._result = body, _decoder.decode(body)
        before = of_the_call.set({"request_id": request_id, "tool": self._name[:128]})
        try:
            call = replace(self._call, request_id=request_id)
            report = service.watchers.begin(call, self._name, is_part=False)
            service.listeners.tell(tool, principal, self._result)
            if report is not None:
                report.tool = tool
                report.from_cache = True
                await service.watchers.succeed(report, self._result)
        finally:
            of_the_call.reset(before)
        return body

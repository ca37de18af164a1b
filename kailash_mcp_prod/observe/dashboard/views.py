"""What each page shows of the server, for those who may see it."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.guard.assembly import Guard
from kailash_mcp_prod.observe.dashboard.activity import Activity, Running, Seen
from kailash_mcp_prod.observe.dashboard.figures import ShownFigures
from kailash_mcp_prod.observe.dashboard.fresh import Fresh
from kailash_mcp_prod.observe.dashboard.sight import MANAGE, Sight
from kailash_mcp_prod.sessions.identity import owner_digest
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import Hints, ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.metrics_monitor import Monitor
    from kailash_mcp_prod.sessions.overseeing import Overseer

END_SESSION: Final = "end_session_of_agent"
"""The name in the audit of what the button does that ends a session."""

_MOST: Final = 200
_MOST_RUNNING: Final = 100
_TOOL: Final = "tool:"


@dataclass(frozen=True, slots=True)
class Sources:
    """Where the views look.

    `health` reports on all components. `overseer` opens what is kept of sessions. `integrations`
    tell what their pages show.
    """

    service: ToolService
    policy: Policy
    guard: Guard
    activity: Activity
    health: Callable[[], Awaitable[dict[str, Any]]]
    overseer: Callable[[], Awaitable[Overseer]]
    monitoring: Monitor
    integrations: Mapping[str, Callable[[], Mapping[str, Any]]]
    session_seconds: float
    connections: int
    settings: Mapping[str, Any]


class Views:
    """Builds what the pages show; looks nothing up more often than once a second.

    Args:
        sources: Where it is.
        clock: Unix seconds.
    """

    def __init__(self, sources: Sources, clock: Callable[[], float] = time.time) -> None:
        self._of = sources
        self._clock = clock
        self.fresh = Fresh()
        self.figures = ShownFigures(sources.monitoring, self.fresh)

    async def health(self) -> dict[str, Any]:
        """The report on health."""
        found: dict[str, Any] = await self.fresh.get("health", self._of.health)
        return found

    async def overview(self, sight: Sight) -> dict[str, Any]:
        """How the server is and what it does."""
        sight.require_monitor()
        visible = {tool.name for tool in self._of.service.visible(sight.principal)}
        return {
            **await self.figures.overview(visible),
            **self.activity(sight),
            "health": await self.health(),
        }

    async def sessions(self, sight: Sight) -> dict[str, Any]:
        """Agents, what each does now and has left of its limits, and agent sessions."""
        owner = sight.owner(own=sight.sessions, what="session:read")

        async def look() -> Any:
            return await (await self._of.overseer()).agent_sessions(_MOST + 1, owner)

        stored = await self.fresh.get(("sessions", owner), look)
        running = self._of.activity.running()
        now_in: dict[tuple[str, str], list[Running]] = {}
        seen = {each.principal.subject: each for each in self._of.activity.seen()}
        digests = {subject: owner_digest(each.principal) for subject, each in seen.items()}
        digests[sight.principal.subject] = owner_digest(sight.principal)
        for each in running:
            if each.session_id is not None and each.subject in digests:
                now_in.setdefault((digests[each.subject], each.session_id), []).append(each)
        subjects = {digest: subject for subject, digest in digests.items()}
        sessions = [
            {
                **found.to_dict(self._of.session_seconds),
                "subject": subjects.get(of),
                "own": of == digests[sight.principal.subject],
                "running": [self._running(each) for each in now_in.get((of, found.id), ())],
            }
            for of, found in stored[:_MOST]
        ]
        counted = await self.figures.agents() if sight.everybody else {}
        agents = [
            self._agent(
                each, counted.get(subject), [one for one in running if one.subject == subject]
            )
            for subject, each in seen.items()
            if sight.everybody or subject == sight.principal.subject
        ]
        return {
            "agents": agents[:_MOST],
            "sessions": sessions,
            "more": len(stored) > _MOST,
            "timeout_seconds": self._of.session_seconds,
        }

    async def end_session(self, sight: Sight, session_id: str) -> dict[str, Any]:
        """Ends a session: one's own, or with the right to manage anybody's.

        Raises:
            NotFoundError: There is none that the principal may end.
        """
        service, request_id = self._of.service, uuid4().hex
        if not sight.everybody or not sight.manage:
            return await service.call(
                sight.principal,
                "end_agent_session",
                {"session_id": session_id},
                request_id=request_id,
                surface="full",
            )
        overseer = await self._of.overseer()

        async def end(_call: ToolCall) -> dict[str, Any]:
            return await overseer.end_agent_session(session_id)

        return await service.run(sight.principal, _ending(end), request_id=request_id)

    async def workspaces(self, sight: Sight) -> dict[str, Any]:
        """Workspaces: who takes part, and how much there is; not what is written there."""
        owner = sight.owner(own=sight.sessions, what="session:read")

        async def look() -> Any:
            return await (await self._of.overseer()).workspaces(_MOST + 1, owner)

        found = await self.fresh.get(("workspaces", owner), look)
        return {"workspaces": found[:_MOST], "more": len(found) > _MOST}

    async def workflows(self, sight: Sight) -> dict[str, Any]:
        """Workflow sessions and how far each has come."""
        owner = sight.owner(own=sight.workflows, what="workflow:read")

        async def look() -> Any:
            return await (await self._of.overseer()).workflow_sessions(_MOST + 1, owner)

        found = await self.fresh.get(("workflows", owner), look)
        subjects = self._subjects(sight)
        shown = [_with_subject(each, subjects) for each in found[:_MOST]]
        return {"workflow_sessions": shown, "more": len(found) > _MOST}

    async def workflow(self, sight: Sight, session_id: str) -> dict[str, Any]:
        """One workflow session with its steps.

        Raises:
            NotFoundError: There is none that the principal may see.
        """
        owner = sight.owner(own=sight.workflows, what="workflow:read")
        if len(session_id) > 64:
            raise NotFoundError("There is no workflow session of this id.")

        async def look() -> Any:
            return await (await self._of.overseer()).workflow_session(session_id, owner)

        found = await self.fresh.get(("workflow", owner, session_id), look)
        return _with_subject(found, self._subjects(sight))

    async def limits(self, sight: Sight) -> dict[str, Any]:
        """Circuits, rate limits and who is near one, and how many calls run and wait."""
        sight.require_monitor()
        guard = self._of.guard
        rates = guard.rates
        used = sorted(
            (self._usage(each) for each in self._of.activity.seen()),
            key=lambda one: -max(each["used"] / each["limit"] for each in one["limits"]),
        )
        everybody = rates.everybody()
        return {
            "circuits": [
                {
                    "name": name.removeprefix(_TOOL),
                    "kind": "tool" if name.startswith(_TOOL) else "backend",
                    "state": str(state),
                    "failures": failures,
                    "retry_after_seconds": math.ceil(left),
                }
                for name, state, failures, left in guard.breakers.known()
            ],
            "concurrency": {
                **guard.concurrency.health(),
                "limit": guard.concurrency.most,
            },
            "database": {**guard.database.health(), "limit": self._of.connections},
            "rates": rates.health(),
            "everybody": None
            if everybody is None
            else dict(zip(("used", "limit"), everybody, strict=True)),
            "agents": used[:50],
            "settings": dict(self._of.settings),
        }

    async def integration(self, sight: Sight, name: str) -> Mapping[str, Any]:
        """What there is to say of something that the server is put together with.

        Raises:
            NotFoundError: It is not put together with that.
        """
        sight.require_monitor()
        tell = self._of.integrations.get(name)
        if tell is None:
            raise NotFoundError("The server is not put together with this.")
        return tell()

    def activity(self, sight: Sight) -> dict[str, Any]:
        """The calls that run now, as far as the principal may know of them."""
        shown = [
            self._running(each)
            for each in self._of.activity.running()
            if sight.everybody or each.subject == sight.principal.subject
        ]
        return {"running": shown[:_MOST_RUNNING], "more": len(shown) > _MOST_RUNNING}

    def _subjects(self, sight: Sight) -> dict[str, str]:
        """The subjects of owners who were seen, by the digests under which their things are."""
        known = [sight.principal, *(each.principal for each in self._of.activity.seen())]
        return {owner_digest(each): each.subject for each in known}

    def _running(self, each: Running) -> dict[str, Any]:
        return {
            "subject": each.subject,
            "tool": each.tool,
            "is_part": each.is_part,
            "seconds": round(max(0.0, self._clock() - each.began), 1),
        }

    def _agent(
        self, seen: Seen, counted: tuple[int, int] | None, running: list[Running]
    ) -> dict[str, Any]:
        # Of all workers, where these put their figures together.
        calls, errors = counted or (seen.calls, seen.errors)
        tools = Counter(each.tool or "…" for each in running)
        return {
            **self._usage(seen),
            "tenant": seen.principal.tenant,
            "method": seen.principal.method,
            "calls": calls,
            "errors": errors,
            "last": {
                "tool": seen.tool,
                "outcome": seen.outcome,
                "seconds": round(seen.seconds, 4),
                "at": _iso(seen.at),
            },
            "running": [{"tool": tool, "count": count} for tool, count in tools.items()],
        }

    def _usage(self, seen: Seen) -> dict[str, Any]:
        principal: Principal = seen.principal
        return {
            "subject": principal.subject,
            "limits": [
                {"kind": kind, "used": used, "limit": limit, "left": max(0, limit - used)}
                for kind, used, limit in self._of.guard.rates.usage(principal)
            ],
        }


def _ending(handler: Callable[[ToolCall], Awaitable[dict[str, Any]]]) -> ToolSpec:
    """What ends a session, as a tool that no list shows: so it is checked and noted as others."""
    return ToolSpec(
        name=END_SESSION,
        title="End a session of an agent",
        description="Ends a session from the dashboard.",
        input_schema={"type": "object"},
        output_schema={"type": "object"},
        hints=Hints(read_only=False, destructive=True, idempotent=True),
        permissions=(MANAGE,),
        group="session",
        handler=handler,
    )


def _with_subject(found: Mapping[str, Any], subjects: Mapping[str, str]) -> dict[str, Any]:
    """The same with who owns it in place of its digest."""
    shown = dict(found)
    return {**shown, "subject": subjects.get(shown.pop("owner"))}


def _iso(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")

"""Denials and refused writes that come again and again: told once, then counted.

So a flood of them fills neither the disk nor the memory. The first of its kind is an entry at once;
those that follow within the window are one entry with their number.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from kailash_mcp_prod.errors import ServerError
from kailash_mcp_prod.observe.audit_chain import Draft, draft_of
from kailash_mcp_prod.observe.audit_entries import clean
from kailash_mcp_prod.tools.call_reports import CallReport
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolSpec
from kailash_mcp_prod.tools.surfaces.any_tool import CALL_TOOL
from kailash_mcp_prod.tools.surfaces.groups import GROUPS
from kailash_mcp_prod.tools.surfaces.shortcuts import SHORTCUTS

WINDOW_SECONDS: Final = 10.0
"""How long denials of one kind are counted before they are told of."""

MAX_KINDS: Final = 500
"""As many kinds are told apart at once; further ones are counted together, by their code."""

DENIED: Final = frozenset({"forbidden", "unauthenticated", "rate_limited", "overloaded"})
"""The codes of errors that say no to the caller, and not to what it asked for."""

UNAUTHENTICATED: Final = "unauthenticated"
"""Who it was that showed no good credential."""

OTHERS: Final = "(others)"
"""Who it was when too many were denied at once to tell them apart."""

_BY_SHORTCUT: Final = {each.name: each for each in SHORTCUTS}
_BY_GROUP: Final = {each.name: each for each in GROUPS}


class Kind(NamedTuple):
    """What denials have in common that are counted together."""

    who: str
    tool: str
    outcome: str
    answered: str = ""
    transport: str = ""
    tenant: str | None = None

    @property
    def denied(self) -> bool:
        """Whether the caller was denied something, and did not only come at a bad time."""
        return self.outcome in DENIED


class _Counted:
    __slots__ = ("count", "since")

    def __init__(self) -> None:
        self.count = 0
        self.since = 0.0


class Denials:
    """Counts denials by kind.

    Args:
        put: Takes the entries.
        window_seconds: How long they are counted.
    """

    def __init__(
        self, put: Callable[[Draft], None], window_seconds: float = WINDOW_SECONDS
    ) -> None:
        self._put = put
        self._window_seconds = window_seconds
        self._kinds: dict[Kind, _Counted] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, kind: Kind, request_id: str = "") -> None:
        """One more; never waits."""
        counted = self._kinds.get(kind)
        if counted is None and len(self._kinds) >= MAX_KINDS:
            kind = Kind(OTHERS, "", kind.outcome)
            counted = self._kinds.get(kind)
        if counted is None:
            self._kinds[kind] = _Counted()
            self._put(_draft(kind, 1, request_id=request_id))
            if self._task is None:
                self._task = asyncio.create_task(self._tell(), name="audit-denials")
            return
        if not counted.count:
            counted.since = time.time()
        counted.count += 1

    def tell(self) -> None:
        """Tells of those that were counted; kinds that did not come again are forgotten."""
        for kind, counted in list(self._kinds.items()):
            if not counted.count:
                del self._kinds[kind]
                continue
            self._put(_draft(kind, counted.count, since=counted.since))
            counted.count = 0

    def close(self) -> None:
        """Tells of what was counted, and forgets the kinds."""
        if self._task is not None:
            self._task.cancel()
            self._task = None
        self.tell()
        self._kinds.clear()

    async def _tell(self) -> None:
        try:
            while self._kinds:
                await asyncio.sleep(self._window_seconds)
                self.tell()
        finally:
            if self._task is asyncio.current_task():
                self._task = None


def _draft(kind: Kind, count: int, *, since: float | None = None, request_id: str = "") -> Draft:
    facts: dict[str, Any] = {"at": round(time.time(), 6), "who": clean(kind.who)}
    if kind.tenant is not None:
        facts["tenant"] = clean(kind.tenant)
    facts |= {"tool": clean(kind.tool), "outcome": kind.outcome}
    if request_id:
        facts["request_id"] = clean(request_id)
    if kind.denied:
        facts["denied"] = True
    if kind.answered:
        facts["answered"] = kind.answered
    if kind.transport:
        facts["transport"] = kind.transport
    if since is not None:
        facts |= {"count": count, "since": round(since, 6)}
    return draft_of(facts)


def kind_of_error(error: ServerError, transport: str) -> Kind:
    """The kind of a refused credential; nothing of it is told."""
    return Kind(UNAUTHENTICATED, "", error.code, transport=transport)


def sought(report: CallReport, registry: ToolRegistry) -> ToolSpec | None:
    """The registered tool that a call meant that came to nothing, if there is one."""
    name, given = report.name, report.call.arguments
    inner, model, action = (_text(given.get(each)) for each in ("name", "model", "action"))
    names = [name]
    if name == CALL_TOOL:
        names = [inner]
    elif name in _BY_SHORTCUT:
        operations = _BY_SHORTCUT[name].operations
        chosen = operations.values() if action not in operations else [operations[action]]
        names = [f"{model}_{operation}" for operation in chosen]
    elif name in _BY_GROUP:
        named = _BY_GROUP[name].actions
        names = [named[action]] if action in named else [*named.values()]
    return next((tool for each in names if (tool := registry.find(each)) is not None), None)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""

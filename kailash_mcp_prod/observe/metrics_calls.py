"""What calls of tools add up to: by tool and outcome, and by agent.

A call costs about 100 µs of processor time in all, so this adds to plain numbers and nothing else;
whoever wants to see them takes copies.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

from kailash_mcp_prod.observe.metrics_histogram import BOUNDS, Histogram
from kailash_mcp_prod.tools.call_reports import CANCELLED, INPUT_REQUIRED, OK, CallReport
from kailash_mcp_prod.tools.spec import ToolSpec

OTHER: Final = "_other"
"""Stands for every name that is not in a closed set."""

MOST_AGENTS: Final = 1000
NO_ERRORS: Final = frozenset({OK, CANCELLED, INPUT_REQUIRED})
"""Outcomes that are no failures."""

SERVER_ERRORS: Final = frozenset(
    {"circuit_open", "internal", "overloaded", "timeout", "unavailable"}
)
"""Codes of failures that no client has caused by what it asked for."""

Key = tuple[str, str, bool]
"""A tool, an outcome, and whether the call was a part of another."""

_WRITES: Final = frozenset({"create", "update", "upsert", "delete"})


class Cell:
    """The calls of one tool with one outcome."""

    __slots__ = ("cached", "count", "slow", "times")

    def __init__(self) -> None:
        self.count = 0
        self.cached = 0
        self.slow = 0
        self.times = Histogram()

    def copy(self) -> Cell:
        """One of its own with the same figures."""
        made = Cell()
        made.count, made.cached, made.slow = self.count, self.cached, self.slow
        made.times = self.times.copy()
        return made

    def merge(self, other: Cell) -> None:
        """Counts those of another one too."""
        self.count += other.count
        self.cached += other.cached
        self.slow += other.slow
        self.times.merge(other.times)


class Rows:
    """How many records were read and written."""

    __slots__ = ("read", "written")

    def __init__(self, read: int = 0, written: int = 0) -> None:
        self.read = read
        self.written = written

    def add(self, other: Rows) -> None:
        """Counts those of another one too."""
        self.read += other.read
        self.written += other.written


class Agent:
    """What one principal did: its calls, the records that they touched, and what was sent to it.

    `characters` are those of all encoded answers; `last_at` is when its last call ended.
    """

    __slots__ = ("calls", "characters", "errors", "last_at", "rows", "times")

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.characters = 0
        self.last_at = 0.0
        self.rows = Rows()
        self.times = Histogram()

    def copy(self) -> Agent:
        """One of its own with the same figures."""
        made = Agent()
        made.merge(self)
        return made

    def merge(self, other: Agent) -> None:
        """Counts those of another one too."""
        self.calls += other.calls
        self.errors += other.errors
        self.characters += other.characters
        self.last_at = max(self.last_at, other.last_at)
        self.rows.add(other.rows)
        self.times.merge(other.times)


class CallFigures:
    """Counts calls.

    Args:
        timed: Whether it keeps how long calls take.
        slow_seconds: From when on a call is slow.
        by_agent: Whether it keeps figures of each principal.
        most_agents: Of how many; those that come later are one together.
        clock: Unix seconds.
    """

    def __init__(
        self,
        *,
        timed: bool = True,
        slow_seconds: float = 1.0,
        by_agent: bool = True,
        most_agents: int = MOST_AGENTS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._timed = timed
        self._slow = slow_seconds if timed else float("inf")
        self._by_agent = by_agent
        self._most_agents = most_agents
        self._clock = clock
        self._names: frozenset[str] = frozenset()
        self.cells: dict[Key, Cell] = {}
        self.rows: dict[str, Rows] = {}
        self.agents: dict[str, Agent] = {}
        self.characters = 0

    def know(self, names: Collection[str]) -> None:
        """Says which tools there are; what was counted of others becomes `_other`."""
        self._names = frozenset(names)
        for key in [each for each in self.cells if each[0] not in self._names and each[0] != OTHER]:
            self._cell((OTHER, key[1], key[2])).merge(self.cells.pop(key))
        for name in [each for each in self.rows if each not in self._names and each != OTHER]:
            gone = self.rows.pop(name)
            self._rows_of(OTHER).add(gone)

    def forget(self) -> None:
        """Begins to count anew."""
        self.cells.clear()
        self.rows.clear()
        self.agents.clear()
        self.characters = 0

    def end(self, report: CallReport) -> None:
        """Counts a call that is over."""
        tool, outcome, is_part = report.tool, report.outcome, report.is_part
        name = report.name if tool is None else tool.name
        cell = self.cells.get((name, outcome, is_part))
        if cell is None:
            cell = self._cell((name if name in self._names else OTHER, outcome, is_part))
        cell.count += 1
        if report.from_cache:
            cell.cached += 1
        agent = self._agent(report.call.principal.subject) if self._by_agent else None
        if self._timed:
            seconds = report.seconds
            index = bisect_left(BOUNDS, seconds)
            cell.times.add(index, seconds)
            if seconds >= self._slow:
                cell.slow += 1
            if agent is not None and not is_part:
                agent.times.add(index, seconds)
        if agent is not None and not is_part:
            agent.calls += 1
            agent.last_at = report.began + report.seconds
            if outcome not in NO_ERRORS:
                agent.errors += 1
        if outcome == OK:
            self._count_rows(report, agent)

    def sent(self, subject: str, body: bytes) -> None:
        """Counts an encoded answer to a principal."""
        characters = len(body) if body.isascii() else len(body.decode("utf-8", "replace"))
        self.characters += characters
        if self._by_agent:
            self._agent(subject).characters += characters

    def _count_rows(self, report: CallReport, agent: Agent | None) -> None:
        tool = report.tool
        if tool is not None and tool.operation is not None and report.result is not None:
            rows = rows_in(tool, report.result)
            if report.within is not None and rows.written:
                # Undone unless the call around it succeeds, which then counts it.
                rows = Rows(rows.read)
            self._add_rows(tool.name, rows, agent)
        for part in report.parts:
            if part.outcome == OK and part.tool is not None and part.result is not None:
                written = rows_in(part.tool, part.result).written
                self._add_rows(part.tool.name, Rows(0, written), agent)

    def _add_rows(self, name: str, rows: Rows, agent: Agent | None) -> None:
        known = self.rows.get(name)
        if known is None:
            known = self._rows_of(name if name in self._names else OTHER)
        known.add(rows)
        if agent is not None:
            agent.rows.add(rows)

    def _cell(self, key: Key) -> Cell:
        return self.cells.setdefault(key, Cell())

    def _rows_of(self, name: str) -> Rows:
        return self.rows.setdefault(name, Rows())

    def _agent(self, subject: str) -> Agent:
        agent = self.agents.get(subject)
        if agent is None:
            full = len(self.agents) >= self._most_agents
            agent = self.agents.setdefault(OTHER if full else subject, Agent())
        return agent


def rows_in(tool: ToolSpec, result: Mapping[str, Any]) -> Rows:
    """How many records a successful call of a tool has read and written, by its result."""
    match tool.operation:
        case "read":
            return Rows(1)
        case "list" | "aggregate":
            return Rows(_number(result.get("count")))
        case operation if operation in _WRITES:
            return Rows(0, 1)
        case str() as operation if operation.startswith("bulk_"):
            return Rows(0, _number(result.get("processed")))
    return Rows()


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0

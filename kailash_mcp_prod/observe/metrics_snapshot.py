"""The figures of one moment: of one worker, as it writes them down, and of all together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from kailash_mcp_prod.observe.metrics_calls import (
    MOST_AGENTS,
    OTHER,
    Agent,
    CallFigures,
    Cell,
    Key,
    Rows,
)
from kailash_mcp_prod.observe.metrics_families import Families, Family, lasting, merged
from kailash_mcp_prod.observe.metrics_histogram import Histogram, Wire
from kailash_mcp_prod.observe.metrics_operations import Operation, OperationFigures, Session


class Figures:
    """Everything that was counted, by itself or as the sum of several workers.

    Attributes:
        cells: The calls by tool, outcome and whether they are parts of others.
        rows: The records read and written, by tool.
        agents: What each principal did.
        operations: The requests of MCP.
        sessions: The sessions of MCP that are over.
        characters: Of all answers together.
        workers: How many processes are alive.
        families: What else is exported.
    """

    def __init__(self) -> None:
        self.cells: dict[Key, Cell] = {}
        self.rows: dict[str, Rows] = {}
        self.agents: dict[str, Agent] = {}
        self.operations: dict[Operation, Histogram] = {}
        self.sessions: dict[Session, Histogram] = {}
        self.characters = 0
        self.workers = 1
        self.families: Families = {}

    @classmethod
    def of(
        cls, calls: CallFigures, operations: OperationFigures, families: Iterable[Family]
    ) -> Figures:
        """A copy of what this process has counted so far."""
        made = cls()
        made.cells = {key: cell.copy() for key, cell in calls.cells.items()}
        made.rows = {name: Rows(rows.read, rows.written) for name, rows in calls.rows.items()}
        made.agents = {name: agent.copy() for name, agent in calls.agents.items()}
        made.operations = {key: each.copy() for key, each in operations.operations.items()}
        made.sessions = {key: each.copy() for key, each in operations.sessions.items()}
        made.characters = calls.characters
        made.families = {family.name: family for family in families}
        return made

    def add(self, snapshots: Iterable[Snapshot]) -> None:
        """Adds what other workers have written down."""
        all_of_them = list(snapshots)
        for snapshot in all_of_them:
            snapshot.pour_into(self)
        self.families = merged(
            self.families.values(), (snapshot.families for snapshot in all_of_them)
        )

    def times(self) -> Histogram:
        """How long all calls took that are no parts of others."""
        found = Histogram()
        for (_, _, is_part), cell in self.cells.items():
            if not is_part:
                found.merge(cell.times)
        return found


_CallRow = tuple[str, str, bool, int, int, int, Wire]
_AgentRow = tuple[int, int, int, float, int, int, Wire]


class Snapshot(msgspec.Struct):
    """The figures of one worker, as they stand in a file.

    `born` is when its process began, by which a process of the same number is told from it;
    `ended` says that it counts no more.
    """

    pid: int
    born: float
    ended: bool = False
    calls: list[_CallRow] = []
    rows: dict[str, tuple[int, int]] = {}
    agents: dict[str, _AgentRow] = {}
    operations: list[tuple[Operation, Wire]] = []
    sessions: list[tuple[Session, Wire]] = []
    characters: int = 0
    families: list[Family] = []

    @classmethod
    def of(cls, figures: Figures, *, pid: int, born: float, ended: bool) -> Snapshot:
        """Figures as they are written down; an ended worker keeps no gauges."""
        families = list(figures.families.values())
        return cls(
            pid=pid,
            born=born,
            ended=ended,
            calls=[
                (*key, cell.count, cell.cached, cell.slow, cell.times.to_wire())
                for key, cell in figures.cells.items()
            ],
            rows={name: (rows.read, rows.written) for name, rows in figures.rows.items()},
            agents={
                name: (
                    *(agent.calls, agent.errors, agent.characters, agent.last_at),
                    *(agent.rows.read, agent.rows.written),
                    agent.times.to_wire(),
                )
                for name, agent in figures.agents.items()
            },
            operations=[(key, each.to_wire()) for key, each in figures.operations.items()],
            sessions=[(key, each.to_wire()) for key, each in figures.sessions.items()],
            characters=figures.characters,
            families=lasting(families) if ended else families,
        )

    def pour_into(self, figures: Figures) -> None:
        """Adds all that is counted; families are merged by themselves."""
        for tool, outcome, is_part, count, cached, slow, times in self.calls:
            cell = figures.cells.setdefault((tool, outcome, is_part), Cell())
            cell.count += count
            cell.cached += cached
            cell.slow += slow
            cell.times.merge(Histogram.from_wire(times))
        for name, (read, written) in self.rows.items():
            figures.rows.setdefault(name, Rows()).add(Rows(read, written))
        for name, row in self.agents.items():
            known = name in figures.agents or len(figures.agents) < MOST_AGENTS
            figures.agents.setdefault(name if known else OTHER, Agent()).merge(_agent(row))
        for operation, times in self.operations:
            figures.operations.setdefault(operation, Histogram()).merge(Histogram.from_wire(times))
        for session, times in self.sessions:
            figures.sessions.setdefault(session, Histogram()).merge(Histogram.from_wire(times))
        figures.characters += self.characters
        figures.workers += not self.ended


def _agent(row: _AgentRow) -> Agent:
    made = Agent()
    made.calls, made.errors, made.characters, made.last_at, read, written, times = row
    made.rows = Rows(read, written)
    made.times = Histogram.from_wire(times)
    return made


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Snapshot)


def encode(snapshot: Snapshot) -> bytes:
    """A snapshot as JSON."""
    return _encoder.encode(snapshot)


def decode(text: bytes) -> Snapshot:
    """A snapshot from JSON.

    Raises:
        msgspec.DecodeError: It is none.
    """
    return _decoder.decode(text)

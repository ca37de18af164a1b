"""What observation costs: `make bench NAME=observe`.

The same server runs with metrics, the log at INFO (to a file) and the audit, and with none of
them. Rounds of load take turns between the two, so that both meet the same machine; a cost is the
median of how much less the observed one did in each round. It is given for a read and for a
creation over MCP, at 50 connections, on SQLite and on PostgreSQL. Each part alone stands beside the
bars, on SQLite, and so does the processor time of a call, which depends less on what else the
machine does. That of the threads is in it: those that write the log and SQLite's.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import psutil

from tests.benchmarks.guard import make_company
from tests.benchmarks.harness import Figure, Finding, Rounds, at_most, run
from tests.benchmarks.http_load import Load
from tests.benchmarks.protocol_contestants import Server, running
from tests.benchmarks.protocol_servers.observed import ALL, KEY, KINDS, NONE
from tests.postgres import running_postgres

CONNECTIONS = 50
SECONDS = 2.0
ROUNDS = 7
BARS = {"Company_read": 15.0, "Company_create": 25.0}
CREATION = {"data": {"name": "Benchmark", "city": "Kiel"}}

Turn = tuple[Load, float]
"""A round of load, and the processor time of each answer in microseconds."""

Urls = Callable[[str], str]
"""The address of a fresh database, by the kind of the server that uses it."""


@contextmanager
def servers(
    kinds: tuple[str, ...], url_of: Urls, folder: Path, *, collector: str | None = None
) -> Iterator[dict[str, Server]]:
    """A server of each kind with a database of its own; who is not measured waits."""
    with ExitStack() as stack:
        yield {
            kind: stack.enter_context(
                running(
                    kind,
                    [sys.executable, "-m", "tests.benchmarks.protocol_servers.observed", kind],
                    {"X-API-Key": KEY},
                    after=[url_of(kind), *([] if collector is None else [collector])],
                    log=stack.enter_context((folder / f"{kind}.log").open("wb")),
                )
            )
            for kind in kinds
        }


def costs(database: str, kinds: tuple[str, ...], url_of: Urls, folder: Path) -> Iterator[Finding]:
    """The costs of all kinds on one database."""
    with servers(kinds, url_of, folder) as observed:
        for tool, bar in BARS.items():
            turns = measured_on(observed, kinds, tool, ROUNDS)
            yield from findings(f"{tool} on {database}", bar, turns)
        if (folder / f"{ALL}.log").stat().st_size < 1_000_000:
            raise RuntimeError("The observed server has not logged its calls.")


def measured_on(
    observed: dict[str, Server], kinds: tuple[str, ...], tool: str, rounds: int
) -> dict[str, list[Turn]]:
    """The rounds of each kind of server; the first one only warms up."""
    turns: dict[str, list[Turn]] = {kind: [] for kind in kinds}
    arguments = {
        kind: {"id": make_company(server)} if tool == "Company_read" else CREATION
        for kind, server in observed.items()
    }
    for number in range(rounds + 1):
        # In turns both ways, so that nobody is always the first.
        for kind in kinds if number % 2 else reversed(kinds):
            turns[kind].append(turn(replace(observed[kind], tool=tool, arguments=arguments[kind])))
    return {kind: each[1:] for kind, each in turns.items()}


def turn(server: Server) -> Turn:
    """One round."""
    process = psutil.Process(server.pid)
    before = process.cpu_times()
    load = server.load("modern", "tools/call", CONNECTIONS, SECONDS)
    after = process.cpu_times()
    seconds = after.user + after.system - before.user - before.system
    return load, seconds / max(1, load.answers) * 1e6


def findings(what: str, bar: float, turns: dict[str, list[Turn]]) -> Iterator[Finding]:
    """The bar of one tool, and the figures beside it."""
    speed = Rounds({kind: [load.per_second for load, _ in each] for kind, each in turns.items()})
    cpu = Rounds({kind: [time for _, time in each] for kind, each in turns.items()})
    for kind in turns:
        cost = 100 * (1 - speed.ratio(kind, NONE))
        if kind == ALL:
            yield at_most(f"{what}: cost of metrics, log and audit", bar, cost, "%")
        elif kind != NONE:
            yield Figure(f"{what}: cost of {kind} alone", cost, "%")
    errors = sum(load.errors for each in turns.values() for load, _ in each)
    yield at_most(f"{what}: errors", 0, errors, "errors")
    for kind in turns:
        yield Figure(f"{what}: processor time, observing {kind}", cpu.median(kind), "µs/call")
    for kind in (ALL, NONE):
        yield Figure(f"{what}: observing {kind}", speed.median(kind), "calls/s")


def all_parts() -> Iterator[Finding]:
    """Both databases, one after the other."""
    with tempfile.TemporaryDirectory(prefix="kailash-mcp-prod-bench-") as name:
        folder = Path(name)
        yield from costs("SQLite", KINDS, lambda kind: f"sqlite:///{folder}/{kind}.db", folder)
    with (
        tempfile.TemporaryDirectory(prefix="kailash-mcp-prod-bench-") as name,
        running_postgres() as postgres,
        ExitStack() as stack,
    ):
        urls = {kind: stack.enter_context(postgres.database()) for kind in (ALL, NONE)}
        yield from costs("PostgreSQL", (ALL, NONE), urls.__getitem__, Path(name))


if __name__ == "__main__":
    sys.exit(run("observe", all_parts))

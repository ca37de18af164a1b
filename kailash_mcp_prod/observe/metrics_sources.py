"""What the parts of a server say of themselves when they are asked: gauges, and a few counters."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.guard.breaker import State
from kailash_mcp_prod.guard.breakers import Breakers
from kailash_mcp_prod.guard.concurrency import ConcurrencyLimit
from kailash_mcp_prod.guard.rates import RateLimit
from kailash_mcp_prod.observe.loop_lag import LoopLag
from kailash_mcp_prod.observe.metrics_families import Family
from kailash_mcp_prod.observe.metrics_operations import PROTOCOLS

if TYPE_CHECKING:
    from kailash_mcp_prod.guard.cache import CacheSnapshot
    from kailash_mcp_prod.observe.metrics_operations import OperationFigures
    from kailash_mcp_prod.records.sql.database import PoolUsage
    from kailash_mcp_prod.sessions.counting import SessionCounts

WORKFLOW_STATES: Final = ("active", "compensating", "compensated", "compensation_failed")
_STATES: Final = {State.CLOSED: 0, State.HALF_OPEN: 1, State.OPEN: 2}
_TOOL: Final = "tool:"
_LIMITS: Final = ("principal", "everybody")


def about(tools: int) -> Iterator[Family]:
    """The server itself."""
    info = Family("mcp_server_info", "gauge", "Is 1; the labels say what runs.", merge="max")
    info.add(1, {"version": __version__})
    yield info
    count = Family("mcp_server_tools", "gauge", "Tools that are registered.", merge="max")
    count.add(tools)
    yield count


def of_concurrency(limits: Mapping[str, ConcurrencyLimit]) -> Iterator[Family]:
    """How many calls run and wait."""
    running = Family("mcp_concurrency_running", "gauge", "Calls that run now, by the limit.")
    waiting = Family("mcp_concurrency_waiting", "gauge", "Calls that wait for a place.")
    most = Family("mcp_concurrency_limit", "gauge", "Calls that may run at once.")
    for name, limit in limits.items():
        running.add(limit.running, {"limit": name})
        waiting.add(limit.waiting, {"limit": name})
        most.add(limit.most, {"limit": name})
    yield from (running, waiting, most)


def of_rates(rates: RateLimit) -> Iterator[Family]:
    """How many calls were over a rate."""
    family = Family(
        "mcp_rate_limit_refusals", "counter", "Calls refused for a rate, by whose limit it was."
    )
    for limit in dict.fromkeys((*_LIMITS, *rates.refusals)):
        family.add(rates.refusals[limit], {"limit": limit})
    yield family


def of_breakers(breakers: Breakers, backends: Iterable[str], tools: frozenset[str]) -> Family:
    """The state of each circuit that can be named."""
    family = Family(
        "mcp_circuit_state", "gauge", "0 closed, 1 half open, 2 open: its calls fail.", merge="max"
    )
    states = dict.fromkeys(backends, State.CLOSED) | breakers.states()
    for name, state in states.items():
        tool = name.removeprefix(_TOOL)
        if tool == name or tool in tools:
            family.add(_STATES[state], {"circuit": name})
    return family


def of_pools(pools: Mapping[str, PoolUsage | None]) -> Iterator[Family]:
    """What the connections to the database do."""
    connections = Family("mcp_pool_connections", "gauge", "Open connections, by what they do.")
    limit = Family("mcp_pool_limit", "gauge", "Connections that may be open.")
    waiting = Family("mcp_pool_waiting", "gauge", "Statements that wait for a connection.")
    for name, pool in pools.items():
        if pool is not None:
            connections.add(pool.in_use, {"pool": name, "state": "in_use"})
            connections.add(pool.idle, {"pool": name, "state": "idle"})
            limit.add(pool.limit, {"pool": name})
            waiting.add(pool.waiting, {"pool": name})
    yield from (connections, limit, waiting)


def of_cache(snapshot: CacheSnapshot | None) -> Iterator[Family]:
    """What the cache of reads has done."""
    if snapshot is None:
        return
    reads = Family("mcp_cache_reads", "counter", "Reads that could be cached, by what came of it.")
    for result in ("hits", "shared", "fetched", "misses", "bypassed"):
        reads.add(getattr(snapshot, result), {"result": result})
    yield reads
    evictions = Family("mcp_cache_evictions", "counter", "Results dropped for want of room.")
    evictions.add(snapshot.evictions)
    yield evictions
    for name, text, unit, value in (
        ("mcp_cache_entries", "Results that are kept.", "", snapshot.entries),
        ("mcp_cache_size_bytes", "Memory that they take.", "bytes", snapshot.bytes),
        ("mcp_cache_stored_bytes", "Their bytes as they are kept.", "bytes", snapshot.stored_bytes),
        ("mcp_cache_plain_bytes", "Their bytes uncompressed.", "bytes", snapshot.plain_bytes),
    ):
        family = Family(name, "gauge", text, unit)
        family.add(value)
        yield family


def of_connections(
    operations: OperationFigures, open_now: Mapping[str, Callable[[], int]]
) -> Iterator[Family]:
    """The sessions of MCP that are open, and the connections below."""
    sessions = Family("mcp_server_sessions_open", "gauge", "Sessions of MCP that are open.")
    for session, count in operations.open_sessions.items():
        labels = {"mcp_protocol_version": session.version, **PROTOCOLS[session.transport]}
        sessions.add(count, labels)
    yield sessions
    channels = Family("mcp_server_channels_open", "gauge", "What clients hold open, by its kind.")
    for kind, count_of in open_now.items():
        channels.add(count_of(), {"kind": kind})
    yield channels


def of_sessions(counts: SessionCounts | None) -> Iterator[Family]:
    """The sessions of agents and of workflows in the database, which all workers share."""
    if counts is None:
        return
    for name, text, value in (
        ("mcp_agent_sessions_active", "Agent sessions that have not ended.", counts.active),
        ("mcp_agent_sessions_agents", "Agents that have such a session.", counts.agents),
    ):
        family = Family(name, "gauge", text, merge="here")
        family.add(value)
        yield family
    workflows = Family(
        "mcp_workflow_sessions", "gauge", "Workflow sessions, by status.", merge="here"
    )
    for status in dict.fromkeys((*WORKFLOW_STATES, *counts.workflows)):
        workflows.add(counts.workflows.get(status, 0), {"status": status})
    yield workflows


class Process:
    """This process, as the system sees it."""

    def __init__(self) -> None:
        self._known: Any = None
        self._pid = 0

    def figures(self) -> dict[str, float]:
        """Its memory, processor time, open files, threads and start; blocks for a moment."""
        if self._pid != os.getpid():
            import psutil

            self._known, self._pid = psutil.Process(), os.getpid()
        process = self._known
        with process.oneshot():
            times = process.cpu_times()
            files = process.num_fds() if hasattr(process, "num_fds") else process.num_handles()
            return {
                "resident_memory_bytes": float(process.memory_info().rss),
                "cpu_seconds": times.user + times.system,
                "open_fds": float(files),
                "threads": float(process.num_threads()),
                "start_time_seconds": float(process.create_time()),
            }


_PROCESS: Final = (
    ("resident_memory_bytes", "gauge", "Resident memory.", "bytes"),
    ("cpu_seconds", "counter", "Processor time used.", "seconds"),
    ("open_fds", "gauge", "Open files and sockets.", ""),
    ("threads", "gauge", "Threads.", ""),
    ("start_time_seconds", "gauge", "When it began, in Unix seconds.", "seconds"),
)


def of_process(figures: Mapping[str, float], lag: LoopLag) -> Iterator[Family]:
    """The process and its event loop, apart from those of other workers."""
    pid = {"pid": str(os.getpid())}
    for name, kind, text, unit in _PROCESS:
        family = Family(f"process_{name}", kind, text, unit, merge="each")  # type: ignore[arg-type]
        family.add(figures[name], pid)
        yield family
    waits = Family(
        "mcp_event_loop_lag_seconds",
        "gauge",
        "How late the event loop was at most in the last 5 s.",
        "seconds",
        merge="each",
    )
    waits.add(lag.worst, pid)
    yield waits

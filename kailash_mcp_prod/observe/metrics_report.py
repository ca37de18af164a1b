"""What `get_server_metrics` and `get_integration_metrics` say, computed from what was counted."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from kailash_mcp_prod.observe.metrics_calls import (
    NO_ERRORS,
    SERVER_ERRORS,
    Agent,
    Rows,
)
from kailash_mcp_prod.observe.metrics_histogram import Histogram, milliseconds, ratio, summary
from kailash_mcp_prod.observe.metrics_history import (
    Moment,
    errors_in,
    lag_ms,
    memory_mb,
    requests_in,
    value_of,
)
from kailash_mcp_prod.observe.metrics_snapshot import Figures
from kailash_mcp_prod.sessions.counting import SessionCounts
from kailash_mcp_prod.tools.spec import ToolSpec

CHARACTERS_PER_TOKEN: Final = 4
_CACHED: Final = ("hits", "shared", "fetched")
_READS: Final = (*_CACHED, "misses", "bypassed")


def server_metrics(
    figures: Figures, earlier: Moment | None, *, slow_ms: float, started_at: float
) -> dict[str, Any]:
    """The figures of the whole server.

    Args:
        figures: Those of all workers.
        earlier: Where the interval began that is under way; rates are of that.
        slow_ms: From when on a call is slow.
        started_at: When this worker began, in Unix seconds.
    """
    times = figures.times()
    requests, errors = requests_in(figures), errors_in(figures)
    whole = [(key, cell) for key, cell in figures.cells.items() if not key[2]]
    slow = sum(cell.slow for _, cell in whole)
    of_server = sum(cell.count for key, cell in whole if key[1] in SERVER_ERRORS)
    reads = {name: value_of(figures, "mcp_cache_reads", result=name) for name in _READS}
    rows = total_of(figures.rows.values())
    now = time.time()
    since = None if earlier is None else Moment.of(figures).since(earlier)
    return {
        "total_requests": requests,
        "failed_requests": errors,
        "error_rate_percent": round(100 * ratio(errors, requests), 3),
        "server_error_rate_percent": round(100 * ratio(of_server, requests), 3),
        "requests_per_second": round(ratio(since.requests, since.seconds), 3) if since else 0.0,
        **summary(times),
        "slow_requests": slow,
        "slow_request_ratio": round(ratio(slow, requests), 6),
        "slow_request_ms": slow_ms,
        "cache_hit_ratio": round(
            ratio(sum(reads[name] for name in _CACHED), sum(reads.values())), 6
        ),
        "concurrent_requests": int(value_of(figures, "mcp_concurrency_running", limit="server")),
        "waiting_requests": int(value_of(figures, "mcp_concurrency_waiting", limit="server")),
        "rows_read": rows.read,
        "rows_written": rows.written,
        "tokens_sent": figures.characters // CHARACTERS_PER_TOKEN,
        "memory_usage_mb": memory_mb(figures),
        "event_loop_lag_ms": lag_ms(figures),
        "workers": figures.workers,
        "uptime_seconds": round(now - started_at, 3),
    }


def session_analytics(figures: Figures, counts: SessionCounts | None) -> dict[str, Any]:
    """The sessions of all kinds; those in the database are `None` while it does not say."""
    return {
        "active_sessions": None if counts is None else counts.active,
        "agents_with_sessions": None if counts is None else counts.agents,
        "workflow_sessions": None if counts is None else dict(counts.workflows),
        "protocol_sessions": int(value_of(figures, "mcp_server_sessions_open")),
        "http_sessions": int(value_of(figures, "mcp_server_channels_open", kind="http_session")),
        "websockets": int(value_of(figures, "mcp_server_channels_open", kind="websocket")),
        "connections": int(value_of(figures, "mcp_server_channels_open", kind="connection")),
    }


def agents(
    of_agents: Mapping[str, Agent], *, timed: bool, limit: int, only: str | None
) -> list[dict[str, Any]]:
    """The figures of agents, those with most calls first.

    Args:
        of_agents: All that are known.
        timed: Whether there are durations.
        limit: How many to show.
        only: The one that may be shown; `None` for all.
    """
    shown = [
        (subject, agent) for subject, agent in of_agents.items() if only is None or subject == only
    ]
    shown.sort(key=lambda each: (-each[1].calls, each[0]))
    return [
        {
            "agent": subject,
            "calls": agent.calls,
            "errors": agent.errors,
            "error_rate_percent": round(100 * ratio(agent.errors, agent.calls), 3),
            **(summary(agent.times) if timed else summary(Histogram())),
            "rows_read": agent.rows.read,
            "rows_written": agent.rows.written,
            "tokens_sent": agent.characters // CHARACTERS_PER_TOKEN,
            "last_call_at": _instant(agent.last_at),
        }
        for subject, agent in shown[:limit]
    ]


class _Work:
    """What was done with a tool, or with a model."""

    def __init__(self) -> None:
        self.calls = 0
        self.errors = 0
        self.cached = 0
        self.times = Histogram()
        self.rows = Rows()


def _by_tool(figures: Figures) -> dict[str, _Work]:
    """All calls of each tool, also those that are parts of others."""
    found: dict[str, _Work] = {}
    for (tool, outcome, _), cell in figures.cells.items():
        work = found.setdefault(tool, _Work())
        work.calls += cell.count
        work.cached += cell.cached
        work.errors += cell.count if outcome not in NO_ERRORS else 0
        work.times.merge(cell.times)
    for tool, rows in figures.rows.items():
        found.setdefault(tool, _Work()).rows.add(rows)
    return found


def tools(figures: Figures, visible: Collection[str], limit: int) -> list[dict[str, Any]]:
    """The figures of tools, those with most calls first.

    Args:
        figures: Those of all workers.
        visible: The tools that may be named.
        limit: How many to show.
    """
    of_tools = [each for each in _by_tool(figures).items() if each[0] in visible]
    of_tools.sort(key=lambda each: (-each[1].calls, each[0]))
    return [
        {
            "tool": name,
            "calls": work.calls,
            "errors": work.errors,
            "error_rate_percent": round(100 * ratio(work.errors, work.calls), 3),
            **summary(work.times),
            "from_cache": work.cached,
            "rows_read": work.rows.read,
            "rows_written": work.rows.written,
        }
        for name, work in of_tools[:limit]
    ]


def dataflow(figures: Figures, registered: Iterable[ToolSpec]) -> dict[str, Any]:
    """What was done with the models, by the record tools of each.

    Args:
        figures: Those of all workers.
        registered: The tools whose models may be named.
    """
    by_tool = _by_tool(figures)
    models: dict[str, _Work] = {}
    for tool in registered:
        if tool.operation is None:
            continue
        model = models.setdefault(tool.group, _Work())
        work = by_tool.get(tool.name)
        if work is not None:
            model.calls += work.calls
            model.errors += work.errors
            model.cached += work.cached
            model.times.merge(work.times)
            model.rows.add(work.rows)
    return {
        "models": len(models),
        "calls": sum(each.calls for each in models.values()),
        "errors": sum(each.errors for each in models.values()),
        "from_cache": sum(each.cached for each in models.values()),
        "rows_read": sum(each.rows.read for each in models.values()),
        "rows_written": sum(each.rows.written for each in models.values()),
        "by_model": {
            name: {
                "calls": work.calls,
                "errors": work.errors,
                "from_cache": work.cached,
                "rows_read": work.rows.read,
                "rows_written": work.rows.written,
                "average_response_time_ms": milliseconds(work.times.average),
            }
            for name, work in models.items()
            if work.calls
        },
    }


def total_of(rows: Iterable[Rows]) -> Rows:
    """All rows together."""
    found = Rows()
    for each in rows:
        found.add(each)
    return found


def _instant(seconds: float) -> str | None:
    """A time as it stands in results; `None` where there was none."""
    return (
        datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds") if seconds else None
    )

"""The tools that show what the server does: for operators, and for agents about themselves."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.observe import metrics_report
from kailash_mcp_prod.observe.metrics_history import MOST_SAMPLES
from kailash_mcp_prod.observe.metrics_monitor import READ
from kailash_mcp_prod.sessions.arguments import Arguments, JsonSchema, text, whole
from kailash_mcp_prod.sessions.toolkit import each, result
from kailash_mcp_prod.tools.spec import Handler, Hints, Listing, ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.observe.metrics_monitor import Monitor
    from kailash_mcp_prod.tools.service import ToolService

GROUP: Final = "monitor"
SERVER: Final = "get_server_metrics"
INTEGRATION: Final = "get_integration_metrics"
AVAILABLE: Final = "get_available_tools"

Integration = Callable[[Principal], Mapping[str, Any]]
"""What there is to say to a principal of something that the server is put together with."""

NOT_MOUNTED: Final = {"status": "not_mounted"}

_LISTED: Final[JsonSchema] = {"type": "object", "properties": {}}
_COUNT: Final[JsonSchema] = {"type": "integer", "minimum": 0}
_NUMBER: Final[JsonSchema] = {"type": "number"}
_TEXT: Final[JsonSchema] = {"type": "string"}
_MAYBE_NUMBER: Final[JsonSchema] = {"type": ["number", "null"]}
_MAYBE_COUNT: Final[JsonSchema] = {"type": ["integer", "null"]}
_INSTANT: Final[JsonSchema] = {"type": "string", "format": "date-time"}
_MOST_SHOWN: Final = 200
_SHOWN: Final = 20
_MOST_TOOLS: Final = 1000
_TOOLS: Final = 200


def monitor_tools(
    monitor: Monitor, service: ToolService, integrations: Mapping[str, Integration]
) -> list[ToolSpec]:
    """The tools.

    Args:
        monitor: Knows the figures. While metrics are off, the tools over them are not there.
        service: Knows the tools, and who may see which.
        integrations: Further parts of `get_integration_metrics`, by name.
    """
    available = _available(service)
    if not monitor.enabled:
        return [available]
    return [_server(monitor, service), _integration(monitor, service, integrations), available]


def monitor_tool(
    name: str,
    title: str,
    description: str,
    form: Arguments,
    *,
    output: JsonSchema,
    handler: Handler,
    brief: str,
    listed: JsonSchema | None = None,
    permissions: tuple[str, ...] = (READ,),
) -> ToolSpec:
    """A tool that changes nothing and shows how the server is.

    Args:
        name: Its name.
        title: What people are shown.
        description: What agents are told who ask for it.
        form: Its arguments.
        output: The schema of its result.
        handler: Runs it.
        brief: What lists say.
        listed: The arguments that lists show; by default none.
        permissions: What it needs.
    """
    return ToolSpec(
        name=name,
        title=title,
        description=description,
        input_schema=form.schema(),
        output_schema=output,
        hints=Hints(read_only=True, destructive=False, idempotent=True),
        permissions=permissions,
        group=GROUP,
        handler=handler,
        listing=Listing(brief, _LISTED if listed is None else listed),
    )


def _server(monitor: Monitor, service: ToolService) -> ToolSpec:
    form = Arguments(
        {
            "agents": whole(0, _MOST_SHOWN).by_default(_SHOWN).saying("How many agents to show."),
            "tools": whole(0, _MOST_SHOWN).by_default(_SHOWN).saying("How many tools to show."),
            "history": whole(0, MOST_SAMPLES)
            .by_default(10)
            .saying("How many of the last intervals to show."),
        }
    )

    async def handle(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        principal = call.principal
        figures, counts = await monitor.collect()
        found: dict[str, Any] = {
            "server_metrics": metrics_report.server_metrics(
                figures, monitor.latest, slow_ms=monitor.slow_ms, started_at=monitor.started_at
            ),
            "session_analytics": metrics_report.session_analytics(figures, counts),
            "tools": metrics_report.tools(
                figures,
                {tool.name for tool in service.visible(principal)},
                given.get("tools", _SHOWN),
            ),
        }
        if monitor.by_agent:
            found["agents"] = metrics_report.agents(
                figures.agents,
                timed=monitor.timed,
                limit=given.get("agents", _SHOWN),
                only=None if monitor.sees_all(principal) else principal.subject,
            )
        last = given.get("history", 10)
        samples = list(monitor.history)[-last:] if last else []
        return {**found, "history": [sample.to_dict() for sample in samples]}

    return monitor_tool(
        SERVER,
        "Show the server's metrics",
        "Returns how many calls there were, how long they took and how many failed, what the cache "
        "saved, and the same for each tool and each agent; then the last intervals. Without the "
        "permission monitor:* you are the only agent in it.",
        form,
        output=_SERVER_OUTPUT,
        handler=handle,
        brief="Returns calls, errors, latencies of the server, tools and agents.",
    )


def _integration(
    monitor: Monitor, service: ToolService, integrations: Mapping[str, Integration]
) -> ToolSpec:
    form = Arguments({})

    async def handle(call: ToolCall) -> dict[str, Any]:
        form.check(call.arguments)
        figures, _ = await monitor.collect()
        return {
            "integration_metrics": {
                "dataflow": metrics_report.dataflow(figures, service.visible(call.principal)),
                **{name: dict(ask(call.principal)) for name, ask in integrations.items()},
            }
        }

    return monitor_tool(
        INTEGRATION,
        "Show the metrics of integrations",
        "Returns what was done with DataFlow's models, all together and each that you may use, and "
        "how Nexus is connected: the runs of its workflows, and whether their circuits are open.",
        form,
        output=_INTEGRATION_OUTPUT,
        handler=handle,
        brief="Returns figures of DataFlow's models and Nexus.",
    )


def _available(service: ToolService) -> ToolSpec:
    form = Arguments(
        {
            "group": text(255).saying("Only the tools of this group, such as Company."),
            "query": text(200).saying("Only tools whose name or description has all these words."),
            "limit": whole(1, _MOST_TOOLS).by_default(_TOOLS),
        }
    )

    async def handle(call: ToolCall) -> dict[str, Any]:
        given = form.check(call.arguments)
        group, words = given.get("group"), given.get("query", "").casefold().split()
        found = [
            tool
            for tool in service.visible(call.principal)
            if (group is None or tool.group == group) and _has(tool, words)
        ]
        shown = [_entry(tool) for tool in found[: given.get("limit", _TOOLS)]]
        return {"tools": shown, "count": len(found)}

    return monitor_tool(
        AVAILABLE,
        "List the tools that you may call",
        "Lists the tools that you may call by group, with what each needs. count says how many "
        "there are, also beyond limit.",
        form,
        output=_AVAILABLE_OUTPUT,
        handler=handle,
        brief="Lists tools that you may call.",
        listed={"type": "object", "properties": {"group": _TEXT, "query": _TEXT}},
        permissions=(),
    )


def _entry(tool: ToolSpec) -> dict[str, Any]:
    return {
        "name": tool.name,
        "title": tool.title,
        "description": tool.description if tool.listing is None else tool.listing.description,
        "group": tool.group,
        "permissions": list(tool.permissions),
        "read_only": tool.read_only,
    }


def _has(tool: ToolSpec, words: list[str]) -> bool:
    searched = f"{tool.name} {tool.title} {tool.description}".casefold()
    return all(word in searched for word in words)


_TIMES: Final = {
    "average_response_time_ms": _MAYBE_NUMBER,
    "p50_response_time_ms": _MAYBE_NUMBER,
    "p95_response_time_ms": _MAYBE_NUMBER,
    "p99_response_time_ms": _MAYBE_NUMBER,
}
_DONE: Final = {"calls": _COUNT, "errors": _COUNT}
_ROWS: Final = {"rows_read": _COUNT, "rows_written": _COUNT}
_SERVER_OUTPUT: Final = result(
    {
        "server_metrics": result(
            {
                "total_requests": _COUNT,
                "failed_requests": _COUNT,
                "error_rate_percent": _NUMBER,
                "server_error_rate_percent": _NUMBER,
                "requests_per_second": _NUMBER,
                **_TIMES,
                "slow_requests": _COUNT,
                "slow_request_ratio": _NUMBER,
                "slow_request_ms": _NUMBER,
                "cache_hit_ratio": _NUMBER,
                "concurrent_requests": _COUNT,
                "waiting_requests": _COUNT,
                **_ROWS,
                "tokens_sent": _COUNT,
                "memory_usage_mb": _NUMBER,
                "event_loop_lag_ms": _NUMBER,
                "workers": _COUNT,
                "uptime_seconds": _NUMBER,
            }
        ),
        "session_analytics": result(
            {
                "active_sessions": _MAYBE_COUNT,
                "agents_with_sessions": _MAYBE_COUNT,
                "workflow_sessions": {"type": ["object", "null"], "additionalProperties": _COUNT},
                "protocol_sessions": _COUNT,
                "http_sessions": _COUNT,
                "websockets": _COUNT,
                "connections": _COUNT,
            }
        ),
        "tools": each(
            result(
                {
                    "tool": _TEXT,
                    **_DONE,
                    "error_rate_percent": _NUMBER,
                    **_TIMES,
                    "from_cache": _COUNT,
                    **_ROWS,
                }
            )
        ),
        "agents": each(
            result(
                {
                    "agent": _TEXT,
                    **_DONE,
                    "error_rate_percent": _NUMBER,
                    **_TIMES,
                    **_ROWS,
                    "tokens_sent": _COUNT,
                    "last_call_at": {"type": ["string", "null"], "format": "date-time"},
                }
            )
        ),
        "history": each(
            result(
                {
                    "at": _INSTANT,
                    "seconds": _NUMBER,
                    "requests": _COUNT,
                    "errors": _COUNT,
                    "requests_per_second": _NUMBER,
                    "average_response_time_ms": _MAYBE_NUMBER,
                    "p95_response_time_ms": _MAYBE_NUMBER,
                    "memory_usage_mb": _NUMBER,
                    "concurrent_requests": _COUNT,
                    "event_loop_lag_ms": _NUMBER,
                }
            )
        ),
    },
    "agents",
)
_OF_MODELS: Final = {**_DONE, "from_cache": _COUNT, **_ROWS}
_RUNS: Final = {
    **_DONE,
    "average_response_time_ms": _NUMBER,
    "slowest_response_time_ms": _NUMBER,
}
_CIRCUIT: Final = result(
    {
        "state": {"enum": ["closed", "half_open", "open"]},
        "failures": _COUNT,
        "retry_after_seconds": _COUNT,
    }
)
_INTEGRATION_OUTPUT: Final = result(
    {
        "integration_metrics": {
            "type": "object",
            "properties": {
                "dataflow": result(
                    {
                        "models": _COUNT,
                        **_OF_MODELS,
                        "by_model": {
                            "type": "object",
                            "additionalProperties": result(
                                {**_OF_MODELS, "average_response_time_ms": _MAYBE_NUMBER}
                            ),
                        },
                    }
                ),
                "nexus": {
                    "type": "object",
                    "properties": {
                        "status": _TEXT,
                        "workflows": _COUNT,
                        **_RUNS,
                        "circuits": {"type": "object", "additionalProperties": _COUNT},
                        "by_workflow": {
                            "type": "object",
                            "additionalProperties": result({**_RUNS, "circuit": _CIRCUIT}),
                        },
                    },
                    "required": ["status"],
                },
            },
            "required": ["dataflow", "nexus"],
        }
    }
)
_AVAILABLE_OUTPUT: Final = result(
    {
        "tools": each(
            result(
                {
                    "name": _TEXT,
                    "title": _TEXT,
                    "description": _TEXT,
                    "group": _TEXT,
                    "permissions": each(_TEXT),
                    "read_only": {"type": "boolean"},
                }
            )
        ),
        "count": _COUNT,
    }
)

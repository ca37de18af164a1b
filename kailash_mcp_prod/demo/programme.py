"""All steps of the demonstration, in their order."""

from __future__ import annotations

from collections import Counter
from typing import Final

from kailash_mcp_prod.demo import agents, records, workflow
from kailash_mcp_prod.demo.running import Step
from kailash_mcp_prod.demo.stage import Stage, StepFailedError

_DISCOVERY: Final = "Discovery"
_MONITORING: Final = "Monitoring"
_HEALTH: Final = "Health"
_NEXUS: Final = "Nexus"
_EXECUTE: Final = "execute_nexus_workflow"
# Of our own app; what others do, nobody here knows.
_GREETING: Final = "demo_greet"


async def _tools(stage: Stage) -> str:
    if not stage.tools:
        raise StepFailedError("The server shows this credential no tools.")
    return f"{len(stage.tools)} tools"


async def _groups(stage: Stage) -> str:
    found = (await stage.call("get_available_tools"))["tools"]
    groups = Counter(tool["group"] for tool in found)
    return f"{len(groups)} groups: {', '.join(list(groups)[:6])}{' …' if len(groups) > 6 else ''}"


async def _models(stage: Stage) -> str:
    found = [model["name"] for model in (await stage.call("get_dataflow_models_info"))["models"]]
    return f"{len(found)} models: {', '.join(found[:6])}{' …' if len(found) > 6 else ''}"


async def _metrics(stage: Stage) -> str:
    found = await stage.call("get_server_metrics")
    metrics, sessions = found["server_metrics"], found["session_analytics"]
    took = metrics["average_response_time_ms"]
    return (
        f"{metrics['total_requests']} calls, "
        f"{'not timed' if took is None else f'{took:.1f} ms on average'}, "
        f"{metrics['error_rate_percent']:.1f} % errors, {metrics['memory_usage_mb']:.0f} MB, "
        f"{sessions['active_sessions']} agent sessions"
    )


async def _integration(stage: Stage) -> str:
    found = (await stage.call("get_integration_metrics"))["integration_metrics"]["dataflow"]
    return f"{found['rows_read']} records read, {found['rows_written']} written"


async def _health(stage: Stage) -> str:
    found = await stage.call("health_check")
    if found["health_status"] == "unhealthy":
        ill = [name for name, each in found["components"].items() if each["status"] == "unhealthy"]
        raise StepFailedError(f"The server is unhealthy: {', '.join(ill)}.")
    return f"{found['health_status']}, {len(found['components'])} components"


async def _workflows(stage: Stage) -> str:
    found = [each["name"] for each in (await stage.call("get_nexus_workflows"))["workflows"]]
    if _GREETING in found:
        stage.made[_GREETING] = True
    return f"{len(found)}: {', '.join(found[:6])}"


async def _greeting(stage: Stage) -> str:
    done = await stage.call(_EXECUTE, name=_GREETING, inputs={"name": "Ada"})
    [result] = done["results"].values()
    return str(result["message"])


_NEXUS_TOOL: Final = "get_nexus_workflows"


def programme(stage: Stage) -> tuple[Step, ...]:
    """The steps that there are for a server; of a Nexus app there are more."""
    nexus = (
        Step(_NEXUS, "list its workflows", _workflows, tools=(_NEXUS_TOOL,)),
        Step(_NEXUS, "run one", _greeting, tools=(_EXECUTE,), needs=(_GREETING,)),
    )
    return (
        *agents.BEGIN,
        Step(_DISCOVERY, "list the tools", _tools),
        Step(_DISCOVERY, "group them", _groups, tools=("get_available_tools",)),
        Step(_DISCOVERY, "describe the models", _models, tools=("get_dataflow_models_info",)),
        *records.STEPS,
        *agents.TOGETHER,
        *workflow.STEPS,
        *(nexus if _NEXUS_TOOL in stage.tools else ()),
        Step(_MONITORING, "metrics of the server", _metrics, tools=("get_server_metrics",)),
        Step(_MONITORING, "metrics of the data", _integration, tools=("get_integration_metrics",)),
        Step(_HEALTH, "ask every component", _health, tools=("health_check",)),
        *agents.END,
    )

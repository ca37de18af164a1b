"""The steps of a workflow session, each of which is done once and only once."""

from __future__ import annotations

from typing import Any, Final

from kailash_mcp_prod.demo.records import changed
from kailash_mcp_prod.demo.running import Step
from kailash_mcp_prod.demo.stage import Stage, StepFailedError

_SECTION: Final = "Workflow"
_EXECUTE: Final = "execute_workflow_step"


def _operation(stage: Stage, operation: str, **parameters: Any) -> dict[str, Any]:
    return {
        "type": "dataflow_operation",
        "model": stage.made["model"],
        "operation": operation,
        "parameters": parameters,
    }


async def _start(stage: Stage) -> str:
    if "model" not in stage.made:
        raise StepFailedError("There is no model whose records could be made.")
    begun = await stage.call(
        "create_agent_workflow_session",
        workflow_type="demo",
        session_config={"enable_caching": True, "mark": stage.mark},
    )
    stage.made["workflow"] = begun["workflow_session_id"]
    return f"on records of {stage.made['model']}"


async def _create(stage: Stage) -> str:
    # Texts of their own: the model may want them to be unlike those of other records.
    result = await _done(
        stage,
        "create",
        {
            **_operation(stage, "create", data=_named(stage, "workflow")),
            "compensate": _operation(stage, "delete", id="{{result.id}}"),
        },
    )
    return f"{stage.made['model']} {result['id']}"


async def _change(stage: Stage) -> str:
    await _done(
        stage,
        "change",
        _operation(stage, "update", id="{{steps.create.id}}", data=_named(stage, "changed")),
    )
    return "by a reference to the step before"


async def _look(stage: Stage) -> str:
    reading = {
        "read": _operation(stage, "read", id="{{steps.create.id}}"),
        "list": _operation(stage, "list", filter={"id": "{{steps.create.id}}"}),
    }
    result = await _done(stage, "look", {"type": "parallel", "steps": reading})
    return f"{len(result)} reads at once"


async def _decide(stage: Stage) -> str:
    await _done(
        stage,
        "decide",
        {
            "type": "condition",
            "condition": {"left": "{{session.mark}}", "operator": "eq", "right": stage.mark},
            "then": {"again": _operation(stage, "read", id="{{steps.create.id}}")},
        },
    )
    return "the condition holds"


async def _again(stage: Stage) -> str:
    config = _operation(stage, "delete", id="{{steps.create.id}}")
    await _done(stage, "delete", config)
    repeated = await stage.call(
        _EXECUTE,
        workflow_session_id=stage.made["workflow"],
        step_name="delete",
        step_config=config,
    )
    if not repeated.get("repeated"):
        raise StepFailedError("A step that was sent again was done again.")
    return "sent twice, done once"


async def _status(stage: Stage) -> str:
    found = await stage.call(
        "get_workflow_session_status", workflow_session_id=stage.made["workflow"]
    )
    return f"{len(found['steps'])} steps are stored, the session is {found['status']}"


async def _remove(stage: Stage) -> str:
    removed = await stage.call(
        "cleanup_workflow_sessions", workflow_session_id=stage.made.pop("workflow")
    )
    return f"{removed['removed']} session removed"


async def _done(stage: Stage, name: str, config: dict[str, Any]) -> Any:
    answer = await stage.call(
        _EXECUTE,
        workflow_session_id=stage.made["workflow"],
        step_name=name,
        step_config=config,
    )
    if not answer.get("success"):
        raise StepFailedError(str(answer.get("error", {}).get("message", "The step failed.")))
    stage.made[f"step {name}"] = True
    return answer["result"]


def _named(stage: Stage, word: str) -> dict[str, Any]:
    return {
        name: value.replace(stage.mark, f"{stage.mark} {word}") if isinstance(value, str) else value
        for name, value in (stage.made["data"] if word == "workflow" else changed(stage)).items()
    }


def _step(name: str, run: Any, *needs: str) -> Step:
    return Step(_SECTION, name, run, tools=(_EXECUTE,), needs=("workflow", *needs))


STEPS: Final = (
    Step(_SECTION, "start a session", _start, tools=("create_agent_workflow_session",)),
    _step("create a record", _create),
    _step("change it", _change, "step create"),
    _step("read in parallel", _look, "step create"),
    _step("decide", _decide, "step create"),
    _step("delete it, twice", _again, "step create"),
    Step(
        _SECTION,
        "see what is stored",
        _status,
        tools=("get_workflow_session_status",),
        needs=("workflow",),
    ),
    Step(
        _SECTION,
        "remove the session",
        _remove,
        tools=("cleanup_workflow_sessions",),
        needs=("workflow",),
    ),
)

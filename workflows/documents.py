"""Document processing: tasks are queued, claimed with a lease, and completed or given back.

Workers claim by compare-and-set on the task's own fields, so each task has one worker at a time.
While a task runs, `scheduled_at` is the end of its lease: after that anybody may take it over.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from kailash_mcp_prod import ToolCalls
from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError

_FINAL: Final = frozenset({"succeeded", "failed", "cancelled"})
_LOOKED_AT: Final = 20
_MAX_LEASE_SECONDS: Final = 86_400
_BACKOFF_SECONDS: Final = 30


async def enqueue(
    call: ToolCalls, *, document: dict[str, Any], processing_task: str, priority: int = 100
) -> dict[str, Any]:
    """Queues a task for a document, which has each kind of task once.

    Returns:
        `task`, and whether it was `created` now.
    """
    same = {"document_id": document["id"], "processing_task": processing_task}
    found = await call("known", "DocumentProcessingQueue_list", {"filter": same, "limit": 1})
    if found["records"]:
        return {"task": found["records"][0], "created": False}
    task = await call(
        "task", "DocumentProcessingQueue_create", {"data": {**same, "priority": priority}}
    )
    if document["status"] == "uploaded":
        await call(
            "document", "Document_update", {"id": document["id"], "data": {"status": "processing"}}
        )
    return {"task": task, "created": True}


async def claim(
    call: ToolCalls,
    *,
    worker_id: str,
    lease_seconds: float = 300,
    processing_task: str | None = None,
) -> dict[str, Any]:
    """Gives the worker the next task that is due: by priority, and of equal ones the older.

    Returns:
        `task`, or `None` when there is nothing to do.
    """
    if not 0 < lease_seconds <= _MAX_LEASE_SECONDS:
        raise InvalidArgumentsError(
            f"lease_seconds: use more than 0 and at most {_MAX_LEASE_SECONDS}.",
            field="lease_seconds",
        )
    now = datetime.now(UTC)
    due = {"$or": [{"scheduled_at": None}, {"scheduled_at": {"$lte": now.isoformat()}}]}
    open_tasks: dict[str, Any] = {"status": {"$in": ["queued", "running"]}, "$and": [due]}
    if processing_task is not None:
        open_tasks["processing_task"] = processing_task
    found = await call(
        "due",
        "DocumentProcessingQueue_list",
        {"filter": open_tasks, "sort": ["priority", "id"], "limit": _LOOKED_AT},
    )
    for task in found["records"]:
        if task["attempt_count"] >= task["max_attempts"]:
            lost = "The worker of the last attempt has vanished."
            await _end(call, f"give_up {task['id']}", task, status="failed", error=lost)
            continue
        try:
            claimed = await call(
                f"claim {task['id']}",
                "DocumentProcessingQueue_update",
                {
                    "id": task["id"],
                    "data": {
                        "status": "running",
                        "worker_id": worker_id,
                        "attempt_count": task["attempt_count"] + 1,
                        "started_at": now.isoformat(),
                        "scheduled_at": (now + timedelta(seconds=lease_seconds)).isoformat(),
                        "progress": 0.0,
                    },
                    # Every claim counts, so of several that see the same task one gets it.
                    "expected": {key: task[key] for key in ("status", "attempt_count")},
                },
            )
        except ConflictError:
            continue
        return {"task": claimed}
    return {"task": None}


async def complete(
    call: ToolCalls, *, task_id: str, worker_id: str, task_output: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Ends a task that the worker has; the document is processed when all of its tasks are.

    Raises:
        ConflictError: The worker has it no more.
    """
    task = await call("read", "DocumentProcessingQueue_read", {"id": task_id})
    if task["status"] == "succeeded" and task["worker_id"] == worker_id:
        return {"task": task, "document_status": await _settle(call, task["document_id"])}
    _require_held(task, worker_id)
    done = await _end(call, "complete", task, status="succeeded", output=task_output)
    return {"task": done, "document_status": await _settle(call, task["document_id"])}


async def fail(
    call: ToolCalls, *, task_id: str, worker_id: str, error_message: str
) -> dict[str, Any]:
    """Gives back a task that could not be done: it waits longer each time, then it has failed.

    Raises:
        ConflictError: The worker has it no more.
    """
    task = await call("read", "DocumentProcessingQueue_read", {"id": task_id})
    _require_held(task, worker_id)
    if task["attempt_count"] >= task["max_attempts"]:
        ended = await _end(call, "fail", task, status="failed", error=error_message)
        return {"task": ended, "document_status": await _settle(call, task["document_id"])}
    wait = timedelta(seconds=_BACKOFF_SECONDS * 2 ** (task["attempt_count"] - 1))
    back = await call(
        "back",
        "DocumentProcessingQueue_update",
        {
            "id": task_id,
            "data": {
                "status": "queued",
                "worker_id": None,
                "error_message": error_message,
                "scheduled_at": (datetime.now(UTC) + wait).isoformat(),
            },
            "expected": _held(task),
        },
    )
    return {"task": back, "document_status": "processing"}


async def _end(
    call: ToolCalls,
    step: str,
    task: dict[str, Any],
    *,
    status: str,
    error: str | None = None,
    output: dict[str, Any] | None = None,
) -> dict[str, Any]:
    return await call(
        step,
        "DocumentProcessingQueue_update",
        {
            "id": task["id"],
            "data": {
                "status": status,
                "finished_at": datetime.now(UTC).isoformat(),
                "scheduled_at": None,
                "error_message": error,
                **({"progress": 1.0, "task_output": output} if status == "succeeded" else {}),
            },
            "expected": _held(task),
        },
    )


async def _settle(call: ToolCalls, document_id: str) -> str:
    """Gives the document the status that its tasks come to."""
    tasks = await call(
        "tasks",
        "DocumentProcessingQueue_list",
        {"filter": {"document_id": document_id}, "fields": ["id", "status"], "limit": 100},
    )
    states = {each["status"] for each in tasks["records"]}
    if not states <= _FINAL:
        return "processing"
    status = "failed" if "failed" in states else "processed"
    await call("settle", "Document_update", {"id": document_id, "data": {"status": status}})
    return status


def _held(task: dict[str, Any]) -> dict[str, Any]:
    return {key: task[key] for key in ("status", "worker_id", "attempt_count")}


def _require_held(task: dict[str, Any], worker_id: str) -> None:
    if task["status"] != "running" or task["worker_id"] != worker_id:
        raise ConflictError(
            f"The worker {worker_id} has this task no more: it is {task['status']}. Claim another.",
            details={"status": task["status"]},
        )

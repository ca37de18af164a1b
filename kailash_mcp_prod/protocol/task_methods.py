"""`tasks/get`, `tasks/update` and `tasks/cancel`, and calls that turn into tasks.

Source: the extension `io.modelcontextprotocol/tasks` (SEP-2663).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from kailash_mcp_prod.errors import InternalError, OverloadedError
from kailash_mcp_prod.protocol.deferral import Deferral
from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError, from_server_error
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.peer import MissingExtension, Peer
from kailash_mcp_prod.protocol.peers import Peers
from kailash_mcp_prod.protocol.revisions import (
    META_CLIENT_CAPABILITIES,
    TASKS_EXTENSION,
    Era,
)
from kailash_mcp_prod.protocol.tasks import Task, TaskStore

_log = logging.getLogger(__name__)

DEFER_SECONDS: Final = 5.0
_MODERN: Final = frozenset({Era.MODERN})

Run = Callable[[Peer], Awaitable[dict[str, Any]]]


class TaskMethods:
    """The task methods, over the tasks of this process.

    Args:
        store: The tasks.
        peers: Makes the peers of calls.
        defer_seconds: After how long a call becomes a task by itself.
    """

    def __init__(
        self, store: TaskStore, peers: Peers, *, defer_seconds: float = DEFER_SECONDS
    ) -> None:
        self._store = store
        self._peers = peers
        self._defer_seconds = defer_seconds

    def methods(self) -> list[Method]:
        """The entries for the method table."""
        return [
            Method("tasks/get", self.get, _MODERN, mirrored_param="taskId"),
            Method("tasks/update", self.update, _MODERN, mirrored_param="taskId"),
            Method("tasks/cancel", self.cancel, _MODERN, mirrored_param="taskId"),
        ]

    async def run(self, call: Call, run: Run) -> dict[str, Any]:
        """The result of a call, or the MCP `CreateTaskResult` when it takes long.

        Args:
            call: The request.
            run: Makes the result, and lets the peer know.

        Raises:
            RpcError: The call failed before it became a task.
        """
        if not _takes_tasks(call):
            with self._peers.of(call) as peer:
                return await run(peer)
        deferral = Deferral()

        async def work() -> dict[str, Any]:
            try:
                with self._peers.of(call, deferral) as peer:
                    return await run(peer)
            except RpcError as error:
                if deferral.adopted:
                    error.of_request(call.context.request_id)
                raise
            except Exception:
                if not deferral.adopted:
                    # The request is still there to be answered.
                    raise
                raise _internal_error(call.context.request_id) from None

        working = asyncio.create_task(work())
        wanted = asyncio.create_task(deferral.wanted.wait())
        try:
            await asyncio.wait(
                {working, wanted},
                timeout=self._defer_seconds,
                return_when=asyncio.FIRST_COMPLETED,
            )
            task = None if working.done() else self._adopted(call, working, deferral)
            if task is None:
                return await working
        except asyncio.CancelledError:
            working.cancel()
            raise
        finally:
            wanted.cancel()
        return {"resultType": "task", **task.summary()}

    def _adopted(
        self, call: Call, working: asyncio.Task[dict[str, Any]], deferral: Deferral
    ) -> Task | None:
        """The task that a call becomes; `None` where there is no room: then its request waits."""
        try:
            task = self._store.adopt(call.context.principal.owner, working, deferral)
        except OverloadedError:
            deferral.settle(adopted=False)
            return None
        deferral.settle(adopted=True)
        return task

    async def get(self, call: Call) -> dict[str, Any]:
        """A task as it is now.

        Raises:
            RpcError: -32602 for an unknown task, -32021 for a client without the extension.
        """
        return self._task(call).to_dict()

    async def update(self, call: Call) -> dict[str, Any]:
        """Hand over what a task has asked for.

        Raises:
            RpcError: As for `get`, and -32602 for malformed answers.
        """
        task = self._task(call)
        answers = call.params.get("inputResponses")
        if not isinstance(answers, dict):
            raise RpcError(INVALID_PARAMS, "params.inputResponses must be an object.")
        task.answer(answers)
        return {}

    async def cancel(self, call: Call) -> dict[str, Any]:
        """End a task, if it has not ended.

        Raises:
            RpcError: As for `get`.
        """
        self._task(call).cancel()
        return {}

    def _task(self, call: Call) -> Task:
        if not _takes_tasks(call):
            raise MissingExtension(TASKS_EXTENSION)
        task_id = call.params.get("taskId")
        if not isinstance(task_id, str):
            raise RpcError(INVALID_PARAMS, "params.taskId must be the id of a task.")
        task = self._store.find(call.context.principal.owner, task_id)
        if task is None:
            raise RpcError(INVALID_PARAMS, "There is no such task; it may have been forgotten.")
        return task


def _internal_error(request_id: str) -> RpcError:
    _log.exception("The task of request %s failed", request_id, extra={"request_id": request_id})
    message = "Internal error; the server's log has it under the request id."
    return from_server_error(InternalError(message), request_id)


def _takes_tasks(call: Call) -> bool:
    if call.era is not Era.MODERN:
        return False
    extensions = call.request.meta[META_CLIENT_CAPABILITIES].get("extensions")
    return isinstance(extensions, dict) and TASKS_EXTENSION in extensions

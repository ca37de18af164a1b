"""The Kailash runtime of the server: one for its event loop, made when a step first needs it."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Mapping
from typing import Any, Final

from kailash_mcp_prod.errors import InternalError, ServerError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.sessions.calling import NodeCall, calls_by

log = get_logger(__name__)

_MOST_NODES: Final = 1000
_THREADS: Final = 4
_STEP: Final = "step"


class StepRuntime:
    """Runs workflows on an `AsyncLocalRuntime` that watches nothing and writes no file.

    Its own time-out is off: the deadline of the call ends what takes too long.
    """

    def __init__(self) -> None:
        self._making = asyncio.Lock()
        self._runtime: Any = None
        self._single: Any = None

    async def run_tool(
        self, tool: str, arguments: Mapping[str, Any], call: NodeCall
    ) -> dict[str, Any]:
        """Runs a workflow of one `MCPToolNode`.

        Args:
            tool: The tool that the node calls.
            arguments: Its arguments.
            call: Makes the call.

        Raises:
            ServerError: The call failed, with just that error.
        """
        await self._made()
        failure: BaseException | None = None

        async def kept(node: str, _tool: str, _arguments: Mapping[str, Any]) -> dict[str, Any]:
            nonlocal failure
            # The arguments as they are here, and not as a runtime hands them on.
            try:
                return await call(node, tool, arguments)
            except Exception as error:  # noqa: BLE001 - raised again below, unchanged
                failure = error
                return {}

        with calls_by(kept):
            results, _ = await self._runtime.execute_workflow_async(self._single, {})
        if failure is not None:
            raise failure
        result: dict[str, Any] = results[_STEP]["result"]
        return result

    async def run_workflow(
        self, workflow: Any, inputs: Mapping[str, Any], call: NodeCall
    ) -> dict[str, Any]:
        """Runs a workflow; the outputs of its nodes by their ids.

        Raises:
            ServerError: A tool's, unchanged; `InternalError` if a node failed otherwise.
        """
        await self._made()
        try:
            with calls_by(call):
                results, _ = await self._runtime.execute_workflow_async(workflow, dict(inputs))
        except Exception as failure:
            raise _meant(failure) from failure
        found: dict[str, Any] = results
        return found

    async def close(self) -> None:
        """Ends the runtime's threads; the next step makes a new one."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            # In a thread, because it waits for nodes that run in threads.
            await asyncio.to_thread(runtime.close)

    async def _made(self) -> None:
        if self._runtime is not None:
            return
        async with self._making:
            if self._runtime is None:
                # In a thread, because kailash takes a while to import.
                self._runtime, self._single = await asyncio.to_thread(_make)


def _make() -> tuple[Any, Any]:
    module = importlib.import_module("kailash.runtime.async_local")
    builder = importlib.import_module("kailash.workflow.builder").WorkflowBuilder()
    for name in ("tool_node", "procedure_node"):
        # Their import makes the nodes known by their names.
        importlib.import_module(f"kailash_mcp_prod.sessions.{name}")
    builder.add_node("MCPToolNode", _STEP, {"tool": "the step's", "arguments": {}})
    runtime = module.AsyncLocalRuntime(
        max_concurrent_nodes=_MOST_NODES,
        thread_pool_size=_THREADS,
        execution_timeout=0,
        enable_monitoring=False,
        enable_profiling=False,
        enable_resource_coordination=False,
    )
    return runtime, builder.build()


def _meant(failure: BaseException) -> BaseException:
    """The error of the tool that failed, out of those that Kailash has put around it."""
    cause: BaseException | None = failure
    while cause is not None:
        if isinstance(cause, ServerError):
            return cause
        cause = cause.__cause__
    log.error("workflow_broke", exc_info=failure)
    return InternalError(
        "The workflow failed in one of its own nodes. Report the request id to its operator."
    )

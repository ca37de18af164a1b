"""Runs workflows on a Kailash runtime of the server's own."""

from __future__ import annotations

import asyncio
import importlib
import inspect
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

from kailash_mcp_prod.nexus.failures import meant_by, trace_of
from kailash_mcp_prod.nexus.platform import RegisteredWorkflow
from kailash_mcp_prod.nexus.results import json_safe
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.tools.peer import NOBODY, Peer

log = get_logger(__name__)

_MOST_NODES: Final = 1000
_THREADS: Final = 16
_HANDLER: Final = "handler"
_INPUTS: Final = "inputs"


@dataclass(slots=True)
class _Progress:
    """How far one run is."""

    peer: Peer
    nodes: int
    done: int = 0


_progress: ContextVar[_Progress | None] = ContextVar("progress", default=None)


async def _tell(event: Any) -> None:
    """Hears of each node that is done, in the context of its run."""
    progress = _progress.get()
    if progress is not None:
        progress.done += 1
        await progress.peer.progress(progress.done, progress.nodes, f"{event.node_id} is done")


class WorkflowRunner:
    """One `AsyncLocalRuntime` for one event loop.

    Nexus's own runs ten nodes at a time and belongs to whichever loop was first.
    """

    def __init__(self) -> None:
        self._making = asyncio.Lock()
        self._runtime: Any = None
        self._listening = 0
        self._forget: Callable[[], None] = lambda: None

    async def run(
        self, workflow: Any, inputs: dict[str, Any], *, nodes: int = 1, peer: Peer = NOBODY
    ) -> dict[str, Any]:
        """Runs a workflow; the outputs of its nodes by their ids, as JSON values.

        Args:
            workflow: What `prepared` has made.
            inputs: What `bound` has made of its inputs.
            nodes: How many nodes it has.
            peer: Told of each node that is done.

        Raises:
            ServerError: It failed.
        """
        runtime = self._runtime or await self._made()
        try:
            if nodes == 1 or peer is NOBODY:
                results, _ = await runtime.execute_workflow_async(workflow, inputs)
            else:
                results = await self._run_told(runtime, workflow, inputs, _Progress(peer, nodes))
        except Exception as failure:
            error = meant_by(failure)
            log.warning("workflow_failed", error=error.code, trace=trace_of(failure))
            raise error from failure
        found: dict[str, Any] = json_safe(results)
        return found

    async def _run_told(
        self, runtime: Any, workflow: Any, inputs: dict[str, Any], progress: _Progress
    ) -> Any:
        """Runs a workflow and tells of its nodes.

        Only meanwhile, because the runtime goes a slower way for all runs when anybody listens.
        """
        if not self._listening:
            self._forget = runtime.on_node_complete(_tell)
        self._listening += 1
        before = _progress.set(progress)
        try:
            results, _ = await runtime.execute_workflow_async(workflow, inputs)
        finally:
            _progress.reset(before)
            self._listening -= 1
            if not self._listening:
                self._forget()
        return results

    async def close(self) -> None:
        """Ends the runtime's threads; the next run makes a new one."""
        runtime, self._runtime = self._runtime, None
        if runtime is not None:
            # In a thread, because it waits for nodes that run in threads.
            await asyncio.to_thread(runtime.close)

    async def _made(self) -> Any:
        async with self._making:
            if self._runtime is None:
                # In a thread, because kailash takes a while to import.
                self._runtime = await asyncio.to_thread(_make)
            return self._runtime


def _make() -> Any:
    module = importlib.import_module("kailash.runtime.async_local")
    return module.AsyncLocalRuntime(
        max_concurrent_nodes=_MOST_NODES,
        thread_pool_size=_THREADS,
        # The deadline of the call ends what takes too long.
        execution_timeout=0,
        enable_monitoring=False,
        enable_profiling=False,
        enable_resource_coordination=False,
    )


def prepared(registered: RegisteredWorkflow) -> Any:
    """The workflow as it is run here.

    That of a function is made anew: Kailash knows a few types of parameters only and turns the
    values of all others, such as `list[str]`, into text. They are checked before it sees them.
    """
    if registered.handler is None:
        return registered.workflow
    handler = registered.handler

    async def run(inputs: dict[str, Any]) -> Any:
        if inspect.iscoroutinefunction(handler):
            result = await handler(**inputs)
        else:
            result = await asyncio.to_thread(handler, **inputs)
        # Here already, because Kailash refuses what is not JSON.
        return json_safe(result)

    handlers = importlib.import_module("kailash.nodes.handler")
    base = importlib.import_module("kailash.nodes.base")
    whole = base.NodeParameter(name=_INPUTS, type=dict, required=True, description="")
    node = handlers.HandlerNode(handler=run, params={_INPUTS: whole})
    builder = importlib.import_module("kailash.workflow.builder").WorkflowBuilder()
    builder.add_node_instance(node, _HANDLER, _internal=True)
    builder.add_workflow_inputs(_HANDLER, {_INPUTS: _INPUTS})
    return builder.build(name=registered.name)


def bound(registered: RegisteredWorkflow, inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs as `prepared` wants them.

    Workflows of nodes get them as from Nexus: each by its name, and all as `parameters`.
    """
    if registered.handler is not None:
        return {_INPUTS: inputs}
    module = importlib.import_module("kailash.workflow.input_envelope")
    found: dict[str, Any] = module.bind_parameter_envelope(inputs)
    return found

"""The tools for the workflows of a Nexus app: list them, run one, or one tool for each."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Collection
from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from msgspec.structs import replace as replace_call

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.auth.rules import ANY_WORKFLOW
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError, ServerError
from kailash_mcp_prod.nexus.arguments import (
    LISTED,
    RESULT,
    TEXT,
    arguments,
    checked_by_nexus,
    json_object,
)
from kailash_mcp_prod.nexus.failures import WorkflowTimeoutError
from kailash_mcp_prod.nexus.guards import passes
from kailash_mcp_prod.nexus.inputs import Inputs, inputs_of
from kailash_mcp_prod.nexus.platform import NexusPlatform, RegisteredWorkflow
from kailash_mcp_prod.nexus.runner import WorkflowRunner, bound, prepared
from kailash_mcp_prod.nexus.tally import Tally
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.problems import shown
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import Hints, Listing, ToolCall, ToolSpec

log = get_logger(__name__)

GROUP: Final = "nexus"
LIST: Final = "get_nexus_workflows"
EXECUTE: Final = "execute_nexus_workflow"
PREFIX: Final = "nexus_"
_LONGEST_TOOL_NAME: Final = 128
_WATCH_SECONDS: Final = 1.0
_MOST_LISTED: Final = 500
_CHANGES: Final = Hints(read_only=False, destructive=True, idempotent=False, open_world=True)


class _Known:
    """A workflow as it is served."""

    __slots__ = ("inputs", "registered", "tool")

    def __init__(self, registered: RegisteredWorkflow, inputs: Inputs, tool: ToolSpec) -> None:
        self.registered = registered
        self.inputs = inputs
        self.tool = tool


class NexusWorkflows:
    """The workflows of a Nexus app as tools.

    Args:
        platform: The app.
        service: Runs the tools.
        policy: Says who may run what.
        expose: The workflows that are tools of their own: all, or those named.
        timeout_seconds: How long a call may take.
    """

    def __init__(
        self,
        platform: NexusPlatform,
        service: ToolService,
        policy: Policy,
        *,
        expose: bool | Collection[str],
        timeout_seconds: float,
    ) -> None:
        self._platform = platform
        self._service = service
        self._policy = policy
        self._expose = expose
        self._timeout_seconds = timeout_seconds
        self._runner = WorkflowRunner()
        self._known: dict[str, _Known] = {}
        self._watcher: asyncio.Task[None] | None = None
        self._exposed: set[str] = set()
        self.tally = Tally()

    async def start(self) -> None:
        """Adds the tools, and notices from now on what else is registered."""
        seen = self._platform.registered()
        self._add_tools()
        self._watcher = asyncio.create_task(self._watch(seen), name="nexus-watcher")

    async def stop(self) -> None:
        """Ends that, and the runtime."""
        watcher, self._watcher = self._watcher, None
        if watcher is not None:
            watcher.cancel()
            await asyncio.wait({watcher})
        await self._runner.close()

    def runnable(self, principal: Principal) -> list[str]:
        """The names of the workflows that a principal may run."""
        return [
            name
            for name in self._platform.names()
            if (known := self._find(name)) is not None and self._allows(principal, known)
        ]

    @property
    def count(self) -> int:
        """How many workflows there are."""
        return len(self._platform.names())

    @property
    def is_watching(self) -> bool:
        """Whether it notices what is registered later."""
        return self._watcher is not None and not self._watcher.done()

    def description(self, name: str) -> str:
        """What a workflow does, as far as anybody has said."""
        known = self._find(name)
        return "" if known is None else known.registered.description

    async def _watch(self, seen: list[tuple[str, Any, Any]]) -> None:
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            found = self._platform.registered()
            if not _same(seen, found):
                seen = found
                try:
                    self._add_tools()
                except Exception:
                    # Whatever is wrong with one workflow, the next ones are still noticed.
                    log.exception("nexus_workflows_broke")
                else:
                    log.info("nexus_workflows_changed", workflows=len(found))

    def _add_tools(self) -> None:
        """Puts the registry's tools in step; whoever listens hears of it, as something changed."""
        names = self._platform.names()
        self._known = {
            name: each
            for name, each in self._known.items()
            if self._platform.is_current(each.registered)
        }
        own = []
        for name in names:
            wanted = self._expose is True or (self._expose and name in self._expose)
            known = self._find(name) if wanted else None
            if known is not None and len(known.tool.name) <= _LONGEST_TOOL_NAME:
                own.append(replace(known.tool, listed=True))
        gone = self._exposed - {tool.name for tool in own}
        if gone:
            self._service.registry.remove_group(GROUP)
        self._exposed = {tool.name for tool in own}
        self._service.registry.add([self._list_tool(), self._execute_tool(), *own])

    def _find(self, name: str) -> _Known | None:
        """The workflow of that name, as it is registered now."""
        known = self._known.get(name)
        if known is not None and self._platform.is_current(known.registered):
            return known
        registered = self._platform.find(name)
        if registered is None:
            self._known.pop(name, None)
            return None
        known = self._known[name] = self._served(registered)
        return known

    def _served(self, registered: RegisteredWorkflow) -> _Known:
        inputs, runs = inputs_of(registered), prepared(registered)
        name = registered.name

        async def handle(call: ToolCall) -> dict[str, Any]:
            current = self._find(name)
            if current is None or not self._passes(call.principal, current):
                raise _unknown(name)
            values = inputs.check(checked_by_nexus(call.arguments))
            began = time.perf_counter()
            error: str | None = None
            try:
                results = await self._runner.run(
                    runs,
                    bound(registered, values),
                    nodes=registered.node_count,
                    peer=call.peer,
                )
            except ServerError as failure:
                error = failure.code
                raise
            finally:
                self.tally.count(name, time.perf_counter() - began, error)
            return {"workflow": name, "execution_id": f"run_{uuid4().hex}", "results": results}

        description = registered.description or f"Runs the workflow {name}."
        tool = ToolSpec(
            name=f"{PREFIX}{name}",
            title=name,
            description=description,
            input_schema=inputs.schema,
            output_schema=RESULT,
            hints=_CHANGES,
            permissions=(f"{GROUP}:{name}",),
            group=GROUP,
            handler=handle,
            backend=f"{GROUP}:{name}",
            listed=False,
        )
        return _Known(registered, inputs, tool)

    def _allows(self, principal: Principal, known: _Known) -> bool:
        allowed = self._policy.allows(principal, known.tool)
        return allowed and self._passes(principal, known)

    @staticmethod
    def _passes(principal: Principal, known: _Known) -> bool:
        registered = known.registered
        return registered.guard is None or passes(registered.guard, principal, registered.name)

    def _list_tool(self) -> ToolSpec:
        async def handle(call: ToolCall) -> dict[str, Any]:
            wanted = arguments(call.arguments, {"name": str}).get("name")
            names = self.runnable(call.principal)
            if wanted is not None:
                names = [name for name in names if name == wanted]
                if not names:
                    raise _unknown(wanted)
            found = [self._described(name) for name in names[:_MOST_LISTED]]
            return {"workflows": found, "count": len(names)}

        properties = {"name": {**TEXT, "description": "Only this workflow."}}
        return ToolSpec(
            name=LIST,
            title="List workflows of the platform",
            description="Lists the Nexus workflows that you may run, with their inputs.",
            input_schema=json_object(properties),
            output_schema=LISTED,
            hints=Hints(read_only=True, destructive=False, idempotent=True),
            permissions=(ANY_WORKFLOW,),
            group=GROUP,
            handler=handle,
            listing=Listing(
                "Lists the Nexus workflows you may run.",
                {"type": "object", "properties": {"name": TEXT}},
            ),
        )

    def _described(self, name: str) -> dict[str, Any]:
        known = self._find(name)
        if known is None:
            return {"name": name, "description": "", "inputs_known": False}
        metadata = known.registered.metadata
        told = {key: metadata[key] for key in ("version", "tags") if key in metadata}
        return {
            "name": name,
            "description": known.registered.description,
            "inputs_known": known.inputs.known,
            "input_schema": known.inputs.schema,
            **({"metadata": told} if told else {}),
        }

    def _execute_tool(self) -> ToolSpec:
        async def handle(call: ToolCall) -> dict[str, Any]:
            given = arguments(
                call.arguments, {"name": str, "inputs": dict, "timeout": (int, float)}, ("name",)
            )
            name, timeout = given["name"], given.get("timeout")
            if timeout is not None and not 0 < timeout <= self._timeout_seconds:
                raise InvalidArgumentsError(
                    f"timeout: use a number of seconds up to {self._timeout_seconds:g}.",
                    field="timeout",
                )
            known = self._find(name)
            if known is None or not self._allows(call.principal, known):
                raise _unknown(name)
            # A session counts the call that it was given, and not its part once more.
            part = replace_call(call, arguments=given.get("inputs", {}), session_id=None)
            try:
                # Over by the call's own deadline in any case.
                async with asyncio.timeout(timeout):
                    return await self._service.run_part(part, known.tool)
            except TimeoutError:
                raise WorkflowTimeoutError(
                    f"The workflow took longer than the {timeout:g} s that you gave it, and was "
                    "stopped. What it has changed meanwhile may be stored.",
                    details={"outcome": "unknown"},
                ) from None
            except ServerError as error:
                raise error.below("inputs") from error

        properties = {
            "name": {**TEXT, "description": f"The workflow; {LIST} has their names."},
            "inputs": {"type": "object", "description": "Its inputs, by their names."},
            "timeout": {
                "type": "number",
                "description": "Seconds after which it is stopped, fewer than the server's own.",
                "exclusiveMinimum": 0,
                "maximum": self._timeout_seconds,
            },
        }
        return ToolSpec(
            name=EXECUTE,
            title="Run a workflow of the platform",
            description=f"Runs a Nexus workflow once. {LIST} says what inputs it takes.",
            input_schema=json_object(properties, "name"),
            output_schema=RESULT,
            hints=_CHANGES,
            permissions=(ANY_WORKFLOW,),
            group=GROUP,
            handler=handle,
            listing=Listing(
                "Runs a Nexus workflow.",
                {
                    "type": "object",
                    "properties": {
                        "name": TEXT,
                        "inputs": {"type": "object"},
                    },
                    "required": ["name"],
                },
            ),
            runs_others=True,
        )


def _same(one: list[tuple[str, Any, Any]], other: list[tuple[str, Any, Any]]) -> bool:
    return len(one) == len(other) and all(
        name == other_name and workflow is other_workflow and definition is other_definition
        for (name, workflow, definition), (other_name, other_workflow, other_definition) in zip(
            one, other, strict=True
        )
    )


def _unknown(name: str) -> NotFoundError:
    """The same for what is not there and for what may not be run."""
    return NotFoundError(
        f"There is no workflow '{shown(name)}' that you may run. {LIST} lists those that you may.",
        field="name",
    )

"""The calls of tools that come from inside a step: of a workflow's nodes, or an operator's code."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final

from kailash_mcp_prod.errors import ConflictError, InvalidArgumentsError
from kailash_mcp_prod.records.store import Transaction
from kailash_mcp_prod.sessions.steps_checks import part_named
from kailash_mcp_prod.sessions.steps_course import Course, PartKeeper, read_digest
from kailash_mcp_prod.sessions.workflow_tools import GROUP
from kailash_mcp_prod.tools.keys import KEY_ARGUMENT
from kailash_mcp_prod.tools.peer import NOBODY
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec
from kailash_mcp_prod.tools.surfaces.unknown import no_such_tool

_LONGEST_PATH: Final = 400


class NodeCalls:
    """The calls of one run of a workflow: those of each node are numbered.

    A write is kept as a part of the step. When the step runs again after a break-down, what was
    written then is not written anew.

    Args:
        service: The tools.
        course: The course of the step.
        path: The step.
    """

    def __init__(self, service: ToolService, course: Course, path: str) -> None:
        self._service, self._course, self._path = service, course, path
        self._counts: Counter[str] = Counter()

    async def call(self, node: str, tool: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """Calls a tool for a node."""
        self._counts[node] += 1
        path = f"{self._path}/{node}#{self._counts[node]}"
        if len(path) > _LONGEST_PATH:
            path = f"{self._path}/{hashlib.sha256(path.encode()).hexdigest()}"
        return await self._call(path, tool, arguments)

    async def _call(self, path: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """A call that a workflow's node or a custom step makes; a write is kept as a part.

        When the step runs again after a break-down, what was written then is not written anew.
        """
        before = self._course.part(path)
        kind = f"call {name}"[:64]
        if before is not None and before.status == "done":
            if before.type != kind:
                raise ConflictError(
                    f"The step was interrupted after {before.type.removeprefix('call ')}, and now "
                    f"does {name} in its place. Undo what it has done, or start a new session.",
                    details={"outcome": "unknown"},
                )
            found: dict[str, Any] = before.value()
            return found
        tool = self._service.registry.get(name)
        principal = self._course.call.principal
        seen = None if tool is None else self._service.visibility.tool(principal, tool)
        if seen is None:
            names = [each.name for each in self._service.visible(principal)]
            raise no_such_tool(name, names, "tool", "List the tools for names.")
        if seen.group == GROUP:
            raise ConflictError(f"{name}: a workflow drives no workflow session.", field="tool")
        refuse_key(seen, arguments, "")
        kept = self._course.holder is not None and is_write(seen)
        step = part_named(self._course, path, kind, read_digest(name, arguments))
        keep = PartKeeper(self._course, step)

        async def companion(transaction: Transaction, result: dict[str, Any]) -> None:
            await keep(result, call=None, within=transaction)

        part = ToolCall(
            principal,
            arguments,
            self._course.call.request_id,
            NOBODY,
            self._course.key(path) if seen.takes_keys and not kept else None,
            companion=companion if kept else None,
        )
        result = await self._service.call_part(part, name)
        if kept:
            keep.settle()
        return result


def is_write(tool: ToolSpec) -> bool:
    """Whether a tool writes records, and so in a transaction that can keep more."""
    return tool.operation is not None and tool.takes_keys


def refuse_key(tool: ToolSpec, arguments: Mapping[str, Any], start: str) -> None:
    """Refuses an idempotency key among the arguments of a step, which would do nothing.

    Args:
        tool: What is called.
        arguments: With what.
        start: The path of the arguments, for the error.

    Raises:
        InvalidArgumentsError: There is one.
    """
    if tool.takes_keys and KEY_ARGUMENT in arguments:
        raise InvalidArgumentsError(
            f"{start}{KEY_ARGUMENT}: what a step does is done once by the step's name. Leave it "
            "out.",
            field=f"{start}{KEY_ARGUMENT}",
        )


class CustomCall:
    """See `StepCall`.

    Args:
        service: The tools.
        course: The course of the step.
        path: The step.
        parameters: What it was given.
    """

    def __init__(
        self, service: ToolService, course: Course, path: str, parameters: Mapping[str, Any]
    ) -> None:
        self._calls = NodeCalls(service, course, path)
        self._course = course
        self.parameters = parameters
        self.principal = course.call.principal

    async def call_tool(self, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
        """See `StepCall.call_tool`."""
        return await self._calls.call("call", name, arguments)

    async def progress(
        self, progress: float, total: float | None = None, message: str | None = None
    ) -> None:
        """See `StepCall.progress`."""
        await self._course.call.peer.progress(progress, total, message)

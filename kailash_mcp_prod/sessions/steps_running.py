"""Runs steps of every type; what they come to is kept by whoever runs them."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from kailash_mcp_prod.errors import (
    ConflictError,
    InternalError,
    Interruption,
    InvalidArgumentsError,
    ServerError,
)
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.store import Transaction
from kailash_mcp_prod.sessions.references import resolve
from kailash_mcp_prod.sessions.runtime import StepRuntime
from kailash_mcp_prod.sessions.steps import COMPOUND, StepConfig
from kailash_mcp_prod.sessions.steps_arguments import (
    arguments_of,
    of_part,
    of_workflow,
    placed,
    tool_of,
)
from kailash_mcp_prod.sessions.steps_atomic import Atomic, AtomicRecords
from kailash_mcp_prod.sessions.steps_checks import (
    json_value,
    part_of,
    refuse_repetition,
    timed,
)
from kailash_mcp_prod.sessions.steps_conditions import holds
from kailash_mcp_prod.sessions.steps_course import (
    Course,
    Keeper,
    PartKeeper,
    read_digest,
)
from kailash_mcp_prod.sessions.steps_inside import CustomCall, NodeCalls, is_write, refuse_key
from kailash_mcp_prod.sessions.steps_policy import OnError
from kailash_mcp_prod.sessions.steps_scope import InnerScope
from kailash_mcp_prod.sessions.workflow_registry import WorkflowRegistry
from kailash_mcp_prod.sessions.workflow_state import MovedOnError, Step
from kailash_mcp_prod.sessions.workflow_tools import GROUP
from kailash_mcp_prod.tools.peer import NOBODY
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec
from kailash_mcp_prod.tools.surfaces.unknown import no_such_tool

log = get_logger(__name__)

MAX_CONCURRENCY: Final = 8

Inputs = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call of a tool with its references resolved. `flat` is as in `arguments_of`."""

    tool: ToolSpec
    arguments: dict[str, Any]
    field: str
    flat: bool = False


class StepRunner:
    """Runs steps under the caller's principal.

    Args:
        service: The tools.
        runtime: Runs the workflows around them.
        registry: The registered workflows and step types.
        records: How lists of record operations run in one transaction.
    """

    def __init__(
        self,
        service: ToolService,
        runtime: StepRuntime,
        registry: WorkflowRegistry,
        records: AtomicRecords,
    ) -> None:
        self._service = service
        self._runtime = runtime
        self.registry = registry
        self.atomic = Atomic(service, self, records)

    def prepare(self, course: Course, config: StepConfig, scope: Inputs) -> Prepared:
        """The call that a step of the types `dataflow_operation` and `tool` makes.

        Raises:
            ServerError: There is no such tool for the caller, or a reference is unknown.
        """
        body, field = config.body, config.field
        flat = False
        if config.type == "tool":
            given = "arguments"
            arguments = resolve(body.get("arguments", {}), scope, f"{field}.arguments")
        else:
            given = "parameters"
            parameters = resolve(body.get("parameters", {}), scope, f"{field}.parameters")
            arguments, flat = arguments_of(body["operation"], parameters, f"{field}.parameters")
        tool = self.tool(course, config)
        refuse_key(tool, arguments, f"{field}.{given}.")
        return Prepared(tool, dict(arguments), f"{field}.{given}", flat)

    def tool(self, course: Course, config: StepConfig) -> ToolSpec:
        """The tool that a step of these types calls, as the caller sees it.

        Raises:
            ServerError: There is none for the caller, or a step may not call it.
        """
        body, field = config.body, config.field
        if config.type == "tool":
            name, named_in = body["tool"], f"{field}.tool"
        else:
            name, named_in = tool_of(body["model"], body["operation"]), f"{field}.operation"
        principal = course.call.principal
        tool = self._service.registry.get(name)
        seen = None if tool is None else self._service.visibility.tool(principal, tool)
        if seen is None:
            names = [each.name for each in self._service.visible(principal)]
            raise no_such_tool(name, names, named_in, "List the tools for names.")
        if seen.group == GROUP:
            raise InvalidArgumentsError(
                f"{named_in}: a step drives no workflow session. Execute that step by itself.",
                field=named_in,
            )
        return seen

    @staticmethod
    def is_plain(tool: ToolSpec) -> bool:
        """Whether to run a tool once more does no harm, or its record keeps it from that."""
        return tool.read_only or tool.takes_keys or tool.hints.idempotent

    async def single(
        self, course: Course, config: StepConfig, path: str, prepared: Prepared, keep: Keeper
    ) -> tuple[Any, bool]:
        """Calls a tool, and keeps the result with what it changes where that can be.

        Returns:
            The result, and whether it was known from an earlier step.
        """
        tool = prepared.tool
        read = read_digest(tool.name, prepared.arguments) if tool.read_only else None
        caching = config.enable_caching
        if caching is None:
            caching = course.session.config.enable_caching
        if read is not None and caching and (known := course.remembered(read)) is not None:
            await keep(known.value(), call=read)
            keep.settle()
            return known.value(), True
        kept = is_write(tool)

        async def companion(transaction: Transaction, result: dict[str, Any]) -> None:
            await keep(result, call=read, within=transaction)

        async def call(_node: str, name: str, arguments: Mapping[str, Any]) -> dict[str, Any]:
            whole = course.call
            part = ToolCall(
                whole.principal,
                arguments,
                whole.request_id,
                whole.peer if course.holder is None else NOBODY,
                course.key(path) if tool.takes_keys and not kept else None,
                companion=companion if kept else None,
            )
            return await self._service.call_part(part, name)

        try:
            result = await self._runtime.run_tool(tool.name, prepared.arguments, call)
        except MovedOnError:
            raise
        except ServerError as error:
            raise placed(error, prepared.field, flat=prepared.flat) from error
        if not kept:
            await keep(result, call=read)
        keep.settle()
        return result, False

    async def body(self, course: Course, config: StepConfig, path: str, scope: Inputs) -> Any:
        """Runs what takes several transactions, in a step that is held.

        Raises:
            ServerError: It failed.
        """
        match config.type:
            case "sequence":
                return await self._sequence(course, config.parts["steps"], path, scope)
            case "parallel":
                return await self._parallel(course, config, path, scope)
            case "condition":
                return await self._condition(course, config, path, scope)
            case "workflow":
                return await self._workflow(course, config, path, scope)
            case _:
                return await self._custom(course, config, path, scope)

    async def _sequence(
        self, course: Course, parts: Mapping[str, StepConfig], path: str, scope: Inputs
    ) -> dict[str, Any]:
        inner = InnerScope(scope)
        for name, part in parts.items():
            inner.add(name, await self._part(course, part, f"{path}/{name}", inner))
            await course.tell(len(parts), name)
        return {name: inner["steps"][name] for name in parts}

    async def _parallel(
        self, course: Course, config: StepConfig, path: str, scope: Inputs
    ) -> dict[str, Any]:
        parts = config.parts["steps"]
        places = asyncio.Semaphore(min(config.body.get("max_concurrency", 4), MAX_CONCURRENCY))

        async def run(name: str, part: StepConfig) -> Any:
            async with places:
                result = await self._part(course, part, f"{path}/{name}", scope)
            await course.tell(len(parts), name)
            return result

        tasks = {name: asyncio.create_task(run(name, part)) for name, part in parts.items()}
        try:
            await asyncio.wait(tasks.values(), return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for each in tasks.values():
                each.cancel()
            await asyncio.wait(tasks.values())
        failures = [
            each.exception() for each in tasks.values() if not each.cancelled() and each.exception()
        ]
        if failures:
            raise failures[0] or InternalError("A part of the step failed.")
        return {name: each.result() for name, each in tasks.items()}

    async def _condition(
        self, course: Course, config: StepConfig, path: str, scope: Inputs
    ) -> dict[str, Any]:
        condition = config.body["condition"]
        branch = "then" if holds(condition, scope, f"{config.field}.condition") else "else"
        results = await self._sequence(course, config.parts[branch], path, scope)
        return {"condition": branch == "then", "branch": branch, "steps": results}

    async def _part(self, course: Course, config: StepConfig, path: str, scope: Inputs) -> Any:
        """A step inside another one, unless it was done before the server broke down."""
        policy = config.on_error or OnError()
        attempt = 0
        while True:
            attempt += 1
            try:
                async with timed(config):
                    return await self._part_once(course, config, path, scope)
            except MovedOnError:
                raise
            except ServerError as failure:
                pause = policy.pause_after(attempt, failure)
                if pause is not None:
                    await asyncio.sleep(pause)
                elif policy.action == "continue":
                    return {"error": failure.to_dict(course.call.request_id)}
                else:
                    raise of_part(failure) from failure

    async def _part_once(self, course: Course, config: StepConfig, path: str, scope: Inputs) -> Any:
        if config.type in COMPOUND and not config.is_atomic:
            return await self.body(course, config, path, scope)
        before = course.part(path)
        if before is not None and before.status == "done":
            if before.digest != config.digest:
                raise ConflictError(
                    f"{config.field}: the step {path} was done already, with another "
                    "configuration. Give a further step another name.",
                    field=config.field,
                )
            return before.value()
        step = replace(part_of(course, config, path), token=course.token)
        if config.is_atomic:
            return await self.atomic.run(course, config, scope, PartKeeper(course, step))
        if self.may_repeat(course, config, scope):
            return await self._part_run(course, config, step, scope)
        await self._begin(course, config, step, before)
        try:
            return await self._part_run(course, config, step, scope)
        except MovedOnError:
            raise
        except ServerError:
            # It is known that it was not done.
            with suppress(ServerError):
                await self._put(course, replace(step, status="failed"))
            raise

    async def _part_run(self, course: Course, config: StepConfig, step: Step, scope: Inputs) -> Any:
        path = step.path
        if config.type in {"dataflow_operation", "tool"}:
            prepared = self.prepare(course, config, scope)
            result, _ = await self.single(course, config, path, prepared, PartKeeper(course, step))
            return result
        result = json_value(await self.body(course, config, path, scope), config)
        keep = PartKeeper(course, step)
        await keep(result, call=None)
        keep.settle()
        return result

    async def _begin(
        self, course: Course, config: StepConfig, step: Step, before: Step | None
    ) -> None:
        """Notes that something begins that must not be done twice."""
        if before is not None and before.status == "running":
            refuse_repetition(config, step.path)
        await self._put(course, step)

    @staticmethod
    async def _put(course: Course, step: Step) -> None:
        assert course.holder is not None  # noqa: S101 - parts run in a held step only
        await course.store.put_part(course.session.id, step, course.holder)

    def _repeatable(self, config: StepConfig) -> bool:
        kind = self.registry.types.get(config.type)
        return kind is None or kind.repeatable

    def may_repeat(self, course: Course, config: StepConfig, scope: Inputs) -> bool:
        """Whether a step that was interrupted can run again without asking."""
        if config.type == "tool":
            return self.is_plain(self.prepare(course, config, scope).tool)
        return config.type in {"dataflow_operation", "workflow", *COMPOUND} or self._repeatable(
            config
        )

    async def _workflow(self, course: Course, config: StepConfig, path: str, scope: Inputs) -> Any:
        name, field = config.body["workflow"], f"{config.field}.inputs"
        registered = self.registry.workflows.get(name)
        if registered is None:
            names = list(self.registry.workflows)
            raise no_such_tool(
                name,
                names,
                f"{config.field}.workflow",
                f"There is: {', '.join(names) or 'none'}.",
                kind="workflow",
            )
        inputs = resolve(config.body.get("inputs", {}), scope, field)
        registered.check(inputs, field)
        try:
            workflow = await asyncio.to_thread(registered.built)
        except Exception as failure:
            log.exception("workflow_not_built", workflow=name)
            raise InternalError(
                f"The workflow {name} can't be built. Report the request id to its operator."
            ) from failure
        try:
            outputs = await self._runtime.run_workflow(
                workflow, inputs, NodeCalls(self._service, course, path).call
            )
        except MovedOnError:
            raise
        except ServerError as failure:
            raise of_workflow(failure, inputs, config.field, name) from failure
        return registered.result(outputs)

    async def _custom(self, course: Course, config: StepConfig, path: str, scope: Inputs) -> Any:
        kind = self.registry.types[config.type]
        field = f"{config.field}.parameters"
        parameters = resolve(config.body.get("parameters", {}), scope, field)
        try:
            return await kind.handler(CustomCall(self._service, course, path, parameters))
        except (ServerError, Interruption):
            raise
        except Exception as defect:
            log.exception("step_broke", type=config.type)
            raise InternalError(
                f"The step type {config.type} failed. Report the request id to its operator."
            ) from defect

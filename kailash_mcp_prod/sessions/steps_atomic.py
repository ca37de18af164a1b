"""Lists of record operations in one transaction, which also keeps that they are done."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from kailash_mcp_prod.errors import InvalidArgumentsError, ServerError
from kailash_mcp_prod.records.store import RecordStore, Transaction
from kailash_mcp_prod.sessions.steps import StepConfig
from kailash_mcp_prod.sessions.steps_arguments import placed
from kailash_mcp_prod.sessions.steps_course import Course, Keeper
from kailash_mcp_prod.sessions.steps_scope import InnerScope
from kailash_mcp_prod.sessions.workflow_state import MovedOnError
from kailash_mcp_prod.tools.idempotency import KeyedWrites
from kailash_mcp_prod.tools.service import ToolService
from kailash_mcp_prod.tools.spec import DATABASE, Hints, ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.steps_running import StepRunner


class AtomicRecords(Protocol):
    """The stores of an application."""

    async def shared_store(self, models: Collection[str]) -> tuple[RecordStore, KeyedWrites]:
        """The one store in which the records of all these models are.

        Raises:
            InvalidArgumentsError: They can't share a transaction; `details` names the model.
        """


class Atomic:
    """Runs the parts of an atomic step.

    Args:
        service: The tools.
        runner: Prepares their calls.
        records: Where the records are.
    """

    def __init__(self, service: ToolService, runner: StepRunner, records: AtomicRecords) -> None:
        self._service = service
        self._runner = runner
        self._records = records

    async def run(
        self,
        course: Course,
        config: StepConfig,
        scope: Mapping[str, Any],
        keep: Keeper,
    ) -> dict[str, Any]:
        """Runs all parts in order, or none.

        Raises:
            ServerError: One of them failed; nothing was changed.
        """
        parts = config.parts["steps"]
        for part in parts.values():
            # First, so that nothing is told of models that do not exist for the caller.
            self._runner.tool(course, part)
        models = list(dict.fromkeys(part.body["model"] for part in parts.values()))
        try:
            store, keyed = await self._records.shared_store(models)
        except InvalidArgumentsError as refusal:
            model = (refusal.details or {}).get("model")
            where = next(each.field for each in parts.values() if each.body["model"] == model)
            raise InvalidArgumentsError(
                f"{where}.model: {refusal.message}", field=f"{where}.model"
            ) from None
        results: dict[str, Any] = {}

        async def work(transaction: Transaction) -> dict[str, Any]:
            inner = InnerScope(scope)
            results.clear()
            for name, part in parts.items():
                results[name] = await self._part(course, part, inner, transaction)
                inner.add(name, results[name])
            return dict(results)

        async def companion(transaction: Transaction, result: dict[str, Any]) -> None:
            await keep(result, call=None, within=transaction)

        async def handle(_call: ToolCall) -> dict[str, Any]:
            return await keyed.accompanied(companion, store, work, upserts=True)

        whole = course.call
        call = ToolCall(whole.principal, {}, whole.request_id)
        result = await self._service.run_part(call, _tool(handle))
        keep.settle()
        return result

    async def _part(
        self,
        course: Course,
        config: StepConfig,
        scope: Mapping[str, Any],
        transaction: Transaction,
    ) -> dict[str, Any]:
        prepared = self._runner.prepare(course, config, scope)
        whole = course.call
        call = ToolCall(whole.principal, prepared.arguments, whole.request_id, within=transaction)
        try:
            return await self._service.call_part(call, prepared.tool.name)
        except MovedOnError:
            raise
        except ServerError as error:
            raise placed(error, prepared.field, flat=prepared.flat) from error


def _tool(handle: Any) -> ToolSpec:
    """What takes a turn at the database for the whole list."""
    return ToolSpec(
        name="atomic",
        title="",
        description="",
        input_schema={},
        output_schema={},
        hints=Hints(read_only=False, destructive=True, idempotent=True),
        permissions=(),
        group="workflow",
        handler=handle,
        backend=DATABASE,
    )

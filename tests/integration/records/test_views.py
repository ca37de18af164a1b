"""What a rule leaves of rows and fields, the same in both stores."""

from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.errors import ForbiddenError, NotFoundError
from kailash_mcp_prod.records.executor import RecordOperation
from kailash_mcp_prod.records.filters import parse_filter
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.records.scope import OPEN, Scope
from kailash_mcp_prod.records.views import view_of
from tests.integration.records.trap_app import TrapApp

pytestmark = pytest.mark.asyncio(loop_scope="session")


def ruled(app: TrapApp, rows: dict[str, Any]) -> Scope:
    condition = parse_filter(app.models["TrapOption"], rows)
    return Scope(condition, {}, condition)


WRITES: list[tuple[str, dict[str, Any]]] = [
    ("create", {"data": {"id": "n", "text": "theirs"}}),
    ("update", {"id": "a", "data": {"text": "theirs"}}),
    ("bulk_create", {"data": [{"id": "m", "text": "ours"}, {"id": "n", "text": "theirs"}]}),
    ("bulk_update", {"data": [{"id": "a", "text": "theirs"}]}),
    ("bulk_update", {"filter": {"text": "ours"}, "data": {"text": "theirs"}}),
    ("upsert", {"data": {"id": "a", "text": "theirs"}}),
    ("bulk_upsert", {"data": [{"id": "n", "text": "theirs"}]}),
]


@pytest.mark.parametrize(("operation", "arguments"), WRITES)
async def test_no_write_leaves_a_record_beyond_the_reach_of_its_writer(
    app: TrapApp, operation: str, arguments: dict[str, Any]
) -> None:
    rows = [{"id": "a", "text": "ours"}, {"id": "b", "text": "theirs"}]
    await app.call("TrapOption", "bulk_create", data=rows)
    scope = ruled(app, {"text": "ours"})

    error = await app.refusal("TrapOption", operation, scope=scope, **arguments)

    assert isinstance(error, ForbiddenError)
    made = await app.call("TrapOption", "create", scope=scope, data={"id": "c", "text": "ours"})
    assert made["text"] == "ours"
    assert await app.call("TrapOption", "count", scope=scope) == {"count": 2}
    assert isinstance(
        await app.refusal("TrapOption", "update", scope=scope, id="b", data={"text": "ours"}),
        NotFoundError,
    )


async def test_a_hidden_field_is_stored_with_its_default_and_never_shown(app: TrapApp) -> None:
    view = view_of(app.models["TrapOption"], {"text"}, ())

    async def call(operation: str, **arguments: Any) -> Any:
        run = RecordOperation(app.store, view, Operation(operation))
        return await run(arguments, OPEN)

    made = await call("create", data={"id": "a"})
    assert "text" not in made
    [listed] = (await call("list"))["records"]
    assert "text" not in listed
    assert "text" not in await call("read", id="a")
    assert "text" in await app.call("TrapOption", "read", id="a")

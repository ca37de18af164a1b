"""Cursors lead through every record once, whatever the sort fields hold."""

from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.records.types import COMPARABLE_KINDS
from tests.integration.records.trap_app import Json, TrapApp
from tests.integration.records.trap_values import good_rows

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def walk(app: TrapApp, **arguments: Any) -> list[Json]:
    """The records of all pages."""
    page = await app.call("TrapOption", "list", **arguments)
    records: list[Json] = page["records"]
    while "next_cursor" in page:
        page = await app.call("TrapOption", "list", cursor=page["next_cursor"], **arguments)
        assert page["records"]
        records += page["records"]
    return records


def sparse_rows() -> list[Json]:
    """Good values of every type, each twice, with nulls among them."""
    rows = [given for given, _ in good_rows()][:12] * 2
    return [
        {
            name: None if (at + place) % 4 == 0 else value
            for place, (name, value) in enumerate(row.items())
        }
        for at, row in enumerate(rows)
    ]


@pytest.mark.parametrize("descending", ["", "-"])
async def test_every_field_leads_through_every_record_once(app: TrapApp, descending: str) -> None:
    await app.call("TrapOption", "bulk_create", data=sparse_rows())
    names = [
        each.name for each in app.models["TrapOption"].fields if each.type.kind in COMPARABLE_KINDS
    ]

    for sort in [[descending + name] for name in names] + [["flag", f"{descending}rank", "-id"]]:
        asked: Json = {"sort": sort, "fields": ["id"]}
        whole = await app.call("TrapOption", "list", limit=1000, **asked)
        assert whole["count"] == 24

        assert await walk(app, limit=5, **asked) == whole["records"], sort


async def test_a_filter_holds_on_every_page(app: TrapApp) -> None:
    await app.call("TrapOption", "bulk_create", data=sparse_rows())
    asked: Json = {
        "filter": {"$or": [{"flag": True}, {"whole": {"$null": True}}]},
        "sort": ["-moment", "amount"],
    }
    whole = await app.call("TrapOption", "list", limit=1000, **asked)

    assert 2 < whole["count"] < 24
    assert await walk(app, limit=2, **asked) == whole["records"]

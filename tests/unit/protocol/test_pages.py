"""Lists come in pages whose cursors lead through all of them."""

from __future__ import annotations

from typing import Any

import pytest

from kailash_mcp_prod.protocol.faults import RpcError
from kailash_mcp_prod.protocol.pages import PAGE_SIZE, page_of


def items(count: int) -> list[dict[str, Any]]:
    return [{"number": number} for number in range(count)]


@pytest.mark.parametrize("count", [0, 1, PAGE_SIZE, PAGE_SIZE + 1, 3 * PAGE_SIZE])
def test_the_cursors_lead_through_all_items(count: int) -> None:
    found: list[dict[str, Any]] = []
    params: dict[str, Any] = {}
    while True:
        page = page_of("items", items(count), params)
        assert len(page["items"]) <= PAGE_SIZE
        found += page["items"]
        if "nextCursor" not in page:
            break
        params = {"cursor": page["nextCursor"]}
    assert found == items(count)


@pytest.mark.parametrize("cursor", ["", "x", 5, "MTIz", "LTEwMA==", "OTk5OTkw", "MA==", "ä"])
def test_a_strange_cursor_is_invalid(cursor: Any) -> None:
    with pytest.raises(RpcError) as refused:
        page_of("items", items(250), {"cursor": cursor})
    assert refused.value.code == -32602

"""What a page of workflow sessions may be asked for."""

from __future__ import annotations

import base64
from typing import NoReturn

import pytest

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.workflow_listing import LONGEST_PAGE, listing_tool


async def unopened() -> NoReturn:
    raise AssertionError("Nothing is looked up for a wrong page.")


@pytest.mark.parametrize("limit", [0, -1, LONGEST_PAGE + 1])
def test_a_page_has_a_bound(limit: int) -> None:
    with pytest.raises(InvalidArgumentsError) as error:
        listing_tool(unopened, limit=limit)

    assert error.value.field == "limit"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "[1]",
        "[1, 2]",
        '["1", "wf"]',
        '[1, "wf\\u0000"]',
        '[1, "\\ud800"]',
        '[1e999, "wf"]',
        "x" * 200,
    ],
)
def test_a_cursor_is_one_of_ours(text: str) -> None:
    for cursor in (text, base64.urlsafe_b64encode(text.encode()).decode()):
        with pytest.raises(InvalidArgumentsError) as error:
            listing_tool(unopened, cursor=cursor)

        assert error.value.field == "cursor"


def test_everybodys_sessions_need_another_permission() -> None:
    assert listing_tool(unopened).permissions == ("workflow:read",)
    assert listing_tool(unopened, everybody=True).permissions == ("monitor:read",)

"""Lists workflow sessions for their owner, or everybody's for who may see these, page by page."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.sessions.identity import owner_digest
from kailash_mcp_prod.sessions.toolkit import FLAG, INSTANT, READS, TEXT, WHOLE, each, result
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

if TYPE_CHECKING:
    from kailash_mcp_prod.sessions.overseeing import Overseer, Place

NAME: Final = "list_workflow_sessions"
"""The name in the log and in the audit of what lists them."""

OWN: Final = "workflow:read"
EVERYBODYS: Final = "monitor:read"
PAGE: Final = 20
LONGEST_PAGE: Final = 200

_LONGEST_CURSOR: Final = 200
_LISTED: Final = result(
    {
        "workflow_session_id": TEXT,
        "workflow_type": TEXT,
        "agent_id": {"type": ["string", "null"]},
        "own": FLAG,
        "status": {"enum": ["active", "compensating", "compensated", "compensation_failed"]},
        "created_at": INSTANT,
        "updated_at": INSTANT,
        "expires_at": INSTANT,
        "steps": {
            "type": "object",
            "description": "How many steps there are of each status.",
            "additionalProperties": WHOLE,
        },
        "error": {"type": ["object", "null"]},
    }
)
OUTPUT: Final = result(
    {"workflow_sessions": each(_LISTED), "count": WHOLE, "limit": WHOLE, "next_cursor": TEXT},
    "next_cursor",
)


def listing_tool(
    overseer: Callable[[], Awaitable[Overseer]],
    *,
    everybody: bool = False,
    limit: int = PAGE,
    cursor: str | None = None,
) -> ToolSpec:
    """What lists one page, as a tool that no list shows: so it is checked and noted as others.

    Args:
        overseer: Opens what is kept of sessions.
        everybody: Whether the sessions of all are listed.
        limit: How many at most.
        cursor: `next_cursor` of the page before.

    Raises:
        InvalidArgumentsError: The limit or the cursor is none.
    """
    if not 1 <= limit <= LONGEST_PAGE:
        raise InvalidArgumentsError(
            f"limit: use a whole number from 1 to {LONGEST_PAGE}.", field="limit"
        )
    after = None if cursor is None else _place_of(cursor)

    async def handle(call: ToolCall) -> dict[str, Any]:
        own = owner_digest(call.principal)
        found = await (await overseer()).workflow_page(limit + 1, None if everybody else own, after)
        page = found[:limit]
        listed: dict[str, Any] = {
            "workflow_sessions": [_shown(session, own) for _, session in page],
            "count": len(page),
            "limit": limit,
        }
        return {**listed, "next_cursor": _cursor_of(page[-1][0])} if len(found) > limit else listed

    return ToolSpec(
        name=NAME,
        title="List workflow sessions",
        description="Lists workflow sessions.",
        input_schema={"type": "object"},
        output_schema=OUTPUT,
        hints=READS,
        permissions=(EVERYBODYS if everybody else OWN,),
        group="workflow",
        handler=handle,
    )


def _shown(session: dict[str, Any], own: str) -> dict[str, Any]:
    """The session without the digest of its owner, which is no business of clients."""
    told = {name: value for name, value in session.items() if name != "owner"}
    return {**told, "own": session["owner"] == own}


def _cursor_of(place: Place) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode(place)).decode().rstrip("=")


def _place_of(cursor: str) -> Place:
    """The place that a cursor names. It is not signed: whose sessions are shown is not in it."""
    try:
        if len(cursor) > _LONGEST_CURSOR:
            raise ValueError
        text = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        at, session_id = msgspec.json.decode(text, type=tuple[float, str])
        if not session_id.isprintable():
            raise ValueError
    except (binascii.Error, ValueError, msgspec.MsgspecError):
        raise InvalidArgumentsError(
            "cursor: use next_cursor of the page before, unchanged.", field="cursor"
        ) from None
    return at, session_id

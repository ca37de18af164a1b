"""Lists in pages.

Source: the page *Pagination* of both revisions of MCP.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError
from kailash_mcp_prod.protocol.messages import Params

PAGE_SIZE: Final = 100


def page_of(name: str, items: Sequence[dict[str, Any]], params: Params) -> dict[str, Any]:
    """The page that a list request asks for, and the cursor of the next one.

    Args:
        name: Of the result's member, such as `resources`.
        items: All of them, in a fixed order.
        params: The request's parameters, with or without a `cursor`.

    Raises:
        RpcError: -32602 for a cursor that this server did not give.
    """
    start = _position(params.get("cursor"), len(items))
    page: dict[str, Any] = {name: list(items[start : start + PAGE_SIZE])}
    if start + PAGE_SIZE < len(items):
        page["nextCursor"] = base64.urlsafe_b64encode(str(start + PAGE_SIZE).encode()).decode()
    return page


def _position(cursor: Any, count: int) -> int:
    if cursor is None:
        return 0
    try:
        start = int(base64.b64decode(cursor, altchars=b"-_", validate=True))
    except (TypeError, ValueError, binascii.Error):
        start = 0
    if not 0 < start < max(count, 1) or start % PAGE_SIZE:
        raise RpcError(INVALID_PARAMS, "Unknown cursor: begin again without one.")
    return start

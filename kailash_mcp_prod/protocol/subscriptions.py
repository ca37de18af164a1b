"""`subscriptions/listen`: notifications for as long as the client wants them.

Source: the page *Subscriptions* of MCP 2026-07-28.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final

from kailash_mcp_prod.protocol.changes import ToolChanges
from kailash_mcp_prod.protocol.codec import encode_notification
from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.outbox import Outbox
from kailash_mcp_prod.protocol.revisions import META_SUBSCRIPTION_ID, Era

TOOLS_CHANGED: Final = "notifications/tools/list_changed"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"


class SubscriptionMethods:
    """The stream of change notifications."""

    def __init__(self, changes: ToolChanges) -> None:
        self._changes = changes

    def methods(self) -> list[Method]:
        """The entries for the method table."""
        return [Method("subscriptions/listen", self.listen, frozenset({Era.MODERN}), streams=True)]

    async def listen(self, call: Call) -> dict[str, Any]:
        """Acknowledge what is honoured, then notify until the channel or the credential ends.

        Changes count from before the acknowledgement, so none falls into a gap. The client ends
        the subscription by cancelling the request.

        Raises:
            RpcError: -32602 for a malformed filter.
        """
        wants_tools = _wants_tools(call)
        meta = {META_SUBSCRIPTION_ID: call.request.id}
        context = call.context
        pending = Outbox()
        changed = encode_notification(TOOLS_CHANGED, {"_meta": meta})
        cleanups = [context.lifetime.on_end(pending.close)]
        if wants_tools:
            cleanups.append(self._changes.subscribe(lambda: pending.put(changed)))
        expires_at = context.principal.expires_at
        if expires_at is not None:
            loop = asyncio.get_running_loop()
            cleanups.append(loop.call_later(expires_at - time.time(), pending.close).cancel)
        try:
            honoured = {"toolsListChanged": True} if wants_tools else {}
            await context.emit(
                encode_notification(_ACKNOWLEDGED, {"_meta": meta, "notifications": honoured})
            )
            while (message := await pending.get()) is not None:
                await context.emit(message)
        finally:
            for cleanup in cleanups:
                cleanup()
        return {"_meta": meta}


def _wants_tools(call: Call) -> bool:
    wanted = call.params.get("notifications")
    if not isinstance(wanted, dict):
        raise RpcError(INVALID_PARAMS, "params.notifications must be an object.")
    for name in ("toolsListChanged", "promptsListChanged", "resourcesListChanged"):
        if not isinstance(wanted.get(name, False), bool):
            raise RpcError(INVALID_PARAMS, f"params.notifications.{name} must be a boolean.")
    return bool(wanted.get("toolsListChanged", False))

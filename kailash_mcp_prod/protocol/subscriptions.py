"""`subscriptions/listen`: notifications for as long as the client wants them.

Source: the page *Subscriptions* of MCP 2026-07-28.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.protocol.changes import Changes
from kailash_mcp_prod.protocol.codec import encode_notification
from kailash_mcp_prod.protocol.faults import INVALID_PARAMS, RpcError
from kailash_mcp_prod.protocol.methods import Call, Method
from kailash_mcp_prod.protocol.outbox import Outbox
from kailash_mcp_prod.protocol.resource_methods import (
    MAX_SUBSCRIBED,
    MAX_URI_LENGTH,
    RESOURCE_UPDATED,
)
from kailash_mcp_prod.protocol.revisions import META_SUBSCRIPTION_ID, Era
from kailash_mcp_prod.protocol.updates import ResourceUpdates

TOOLS_CHANGED: Final = "notifications/tools/list_changed"
_LISTS: Final = {
    "toolsListChanged": TOOLS_CHANGED,
    "promptsListChanged": "notifications/prompts/list_changed",
    "resourcesListChanged": "notifications/resources/list_changed",
}
_RESOURCES: Final = "resourceSubscriptions"
_ACKNOWLEDGED: Final = "notifications/subscriptions/acknowledged"

Cleanup = Callable[[], None]


@dataclass(frozen=True, slots=True)
class News:
    """What there is to listen to: changed lists by the name of their filter, changed resources.

    `may_read` says whether the caller of a request may read, and so watch, a resource.
    """

    lists: dict[str, Changes]
    updates: ResourceUpdates | None = None
    may_read: Callable[[Call, str], Awaitable[bool]] | None = None

    def subscribe_lists(self, put: Callable[[bytes], None]) -> list[Cleanup]:
        """Hand out a notification of the old era for each changed list."""
        return [
            changes.subscribe(partial(put, encode_notification(_LISTS[name])))
            for name, changes in self.lists.items()
        ]


@dataclass(frozen=True, slots=True)
class _Filter:
    lists: tuple[str, ...]
    uris: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        honoured: dict[str, Any] = dict.fromkeys(self.lists, True)
        return {**honoured, _RESOURCES: list(self.uris)} if self.uris else honoured


class SubscriptionMethods:
    """The stream of change notifications.

    Args:
        news: What there is to listen to.
    """

    def __init__(self, news: News) -> None:
        self._news = news

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
        honoured = await self._honoured(call)
        meta = {META_SUBSCRIPTION_ID: call.request.id}
        context = call.context
        pending = Outbox()
        principal = context.principal
        cleanups = [
            context.lifetime.on_end(pending.close),
            *self._listen(principal, honoured, meta, pending),
        ]
        expires_at = principal.expires_at
        if expires_at is not None:
            loop = asyncio.get_running_loop()
            cleanups.append(loop.call_later(expires_at - time.time(), pending.close).cancel)
        acknowledged = {"_meta": meta, "notifications": honoured.to_dict()}
        try:
            await context.emit(encode_notification(_ACKNOWLEDGED, acknowledged))
            while (message := await pending.get()) is not None:
                await context.emit(message)
        finally:
            for cleanup in cleanups:
                cleanup()
        return {"_meta": meta}

    def _listen(
        self, principal: Principal, wanted: _Filter, meta: dict[str, Any], pending: Outbox
    ) -> list[Cleanup]:
        cleanups = []
        for name in wanted.lists:
            changed = encode_notification(_LISTS[name], {"_meta": meta})
            cleanups.append(self._news.lists[name].subscribe(partial(pending.put, changed)))
        updates = self._news.updates
        if updates is not None:
            for uri in wanted.uris:
                updated = encode_notification(RESOURCE_UPDATED, {"_meta": meta, "uri": uri})
                cleanups.append(updates.subscribe(uri, principal, partial(pending.put, updated)))
        return cleanups

    async def _honoured(self, call: Call) -> _Filter:
        """What of a client's filter there is, and it may know."""
        wanted = call.params.get("notifications")
        if not isinstance(wanted, dict):
            raise RpcError(INVALID_PARAMS, "params.notifications must be an object.")
        for name in _LISTS:
            if not isinstance(wanted.get(name, False), bool):
                raise RpcError(INVALID_PARAMS, f"params.notifications.{name} must be a boolean.")
        lists = tuple(name for name in self._news.lists if wanted.get(name, False))
        may_read = self._news.may_read
        uris = _uris(wanted.get(_RESOURCES, []))
        if may_read is None:
            return _Filter(lists, ())
        return _Filter(lists, tuple([uri for uri in uris if await may_read(call, uri)]))


def _uris(value: Any) -> list[str]:
    fits = isinstance(value, list) and len(value) <= MAX_SUBSCRIBED
    if not fits or not all(isinstance(each, str) and len(each) <= MAX_URI_LENGTH for each in value):
        raise RpcError(
            INVALID_PARAMS,
            f"params.notifications.{_RESOURCES} must be a list of at most {MAX_SUBSCRIBED} URIs.",
        )
    return list(dict.fromkeys(value))

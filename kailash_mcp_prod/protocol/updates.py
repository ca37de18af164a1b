"""Spreads the news of changed resources to those who watch them and may hear of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.protocol.changes import Changes
from kailash_mcp_prod.protocol.host import Audience, ResourceHost, Unsubscribe

Listener = Callable[[], None]


class ResourceUpdates:
    """Who watches which resource, found by its URI: news costs what hears of it, not what listens.

    It holds the host's subscription only while somebody watches. The host may report from any
    thread; listeners run on the loop of the first `subscribe`.

    Args:
        host: The resources.

    Example:
        ```python
        end = updates.subscribe("dataflow://models/Company", principal, tell)
        ```
    """

    def __init__(self, host: ResourceHost) -> None:
        self._changes = Changes(host.on_resources_updated)
        self._watching: dict[str, dict[object, tuple[Principal, Listener]]] = {}
        self._release: Unsubscribe | None = None

    def subscribe(self, uri: str, principal: Principal, listener: Listener) -> Unsubscribe:
        """Call `listener` after every change of a resource that the principal may hear of.

        Returns a function that ends it.
        """
        if self._release is None:
            self._release = self._changes.subscribe(self._publish)
        key = object()
        self._watching.setdefault(uri, {})[key] = (principal, listener)
        return lambda: self._unsubscribe(uri, key)

    def _unsubscribe(self, uri: str, key: object) -> None:
        watching = self._watching.get(uri, {})
        watching.pop(key, None)
        if not watching:
            self._watching.pop(uri, None)
        if not self._watching and self._release is not None:
            release, self._release = self._release, None
            release()

    def _publish(self, uris: Sequence[str], audience: Audience) -> None:
        for uri in uris:
            # A listener may end subscriptions.
            for principal, listener in tuple(self._watching.get(uri, {}).values()):
                if audience(principal):
                    listener()

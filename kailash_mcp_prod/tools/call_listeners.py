"""Who hears of successful calls."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.tools.spec import ToolSpec

log = get_logger(__name__)

CallListener = Callable[[ToolSpec, Principal, dict[str, Any]], None]
"""Hears of a successful call: the tool, who called, and the result."""


class CallListeners:
    """The listeners of one service. What they raise is logged and changes nothing."""

    def __init__(self) -> None:
        self._listeners: dict[object, CallListener] = {}

    def add(self, listener: CallListener) -> Callable[[], None]:
        """Adds a listener; the returned function removes it."""
        key = object()
        self._listeners[key] = listener

        def forget() -> None:
            self._listeners.pop(key, None)

        return forget

    def tell(self, tool: ToolSpec, principal: Principal, result: dict[str, Any]) -> None:
        """Tells all of them of a call."""
        for listener in tuple(self._listeners.values()):
            try:
                listener(tool, principal, result)
            except Exception:
                # The call is done; a listener's defect must not make it look undone.
                log.exception("call_listener_broke")

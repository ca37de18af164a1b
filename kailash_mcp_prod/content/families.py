"""Resources beside those of the models, as the rooms that have some offer them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from kailash_mcp_prod.content.updates import Audience


class ResourceFamily(Protocol):
    """Resources of one kind, each read by a call of one tool."""

    @property
    def template(self) -> Mapping[str, Any]:
        """The MCP `ResourceTemplate`, for those who may call the tool."""

    @property
    def tool(self) -> str:
        """The tool that reads them."""

    def arguments_of(self, uri: str) -> dict[str, Any] | None:
        """What the tool takes for a resource; `None` for a URI of another kind."""

    def on_updated(self, listener: Callable[[Sequence[str], Audience], None]) -> Callable[[], None]:
        """Calls the listener with the URIs that changed, and who may hear of it, until ended."""

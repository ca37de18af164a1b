"""From the name that a client calls to the tool that runs."""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import UnknownToolError
from kailash_mcp_prod.tools.claimed_agent import without_claimed_agent
from kailash_mcp_prod.tools.claimed_session import with_session
from kailash_mcp_prod.tools.keys import with_key
from kailash_mcp_prod.tools.spec import ToolCall
from kailash_mcp_prod.tools.surfaces.any_tool import CALL_TOOL
from kailash_mcp_prod.tools.surfaces.base import Resolved
from kailash_mcp_prod.tools.surfaces.catalogue import Catalogue
from kailash_mcp_prod.tools.surfaces.names import is_surface
from kailash_mcp_prod.tools.surfaces.unknown import unknown_tool


class Resolver:
    """Looks names up on surfaces.

    Args:
        catalogue: All surfaces.
        surface: The one for those whose request and credential name none.
    """

    def __init__(self, catalogue: Catalogue, surface: str) -> None:
        self._catalogue = catalogue
        self._surface = surface

    def surface_for(self, principal: Principal, requested: str | None) -> str:
        """See `ToolService.surface_for`."""
        if requested is not None:
            self._catalogue.check(principal, requested)
            return requested
        if principal.surface is not None and is_surface(principal.surface):
            return principal.surface
        return self._surface

    def describe(self, principal: Principal, name: str, surface: str | None) -> dict[str, Any]:
        """See `ToolService.describe`."""
        chosen = self.surface_for(principal, surface)
        for tool in self._catalogue.get(chosen).listed(principal, complete=True):
            if tool["name"] == name:
                return tool
        raise self._unknown(principal, name, chosen)

    def resolve(self, call: ToolCall, name: str, surface: str | None) -> Resolved:
        """What a call of that name comes to.

        Raises:
            ServerError: Nothing that the caller may call.
        """
        chosen = self.surface_for(call.principal, surface)
        call = without_claimed_agent(with_session(with_key(call)))
        meant = self._catalogue.get(chosen).resolve(call, name)
        if meant is None:
            raise self._unknown(call.principal, name, chosen)
        # Once more for the arguments that stood in those of a surface's own tool.
        own = without_claimed_agent(with_session(meant.call))
        return meant if own is meant.call else replace(meant, call=own)

    def _unknown(self, principal: Principal, name: str, surface: str) -> UnknownToolError:
        listed = self._catalogue.get(surface).listed(principal, complete=False)
        names = [each["name"] for each in listed]
        elsewhere = ""
        if CALL_TOOL in names and self._catalogue.full.find(principal, name) is not None:
            elsewhere = f"The list of this surface has it not; call it with {CALL_TOOL}."
        return unknown_tool(name, names, elsewhere=elsewhere)

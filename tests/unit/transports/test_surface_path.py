from __future__ import annotations

import pytest

from kailash_mcp_prod.errors import NotFoundError
from kailash_mcp_prod.transports.surface_path import surface_of


@pytest.mark.parametrize(
    ("path", "surface"),
    [
        ("/mcp", None),
        ("/mcp/", None),
        ("/mcp/compact", "compact"),
        ("/mcp/compact/", "compact"),
        ("/mcp/models/Company,Quote", "models/Company,Quote"),
    ],
)
def test_what_follows_the_transport_s_path_names_the_surface(
    path: str, surface: str | None
) -> None:
    assert surface_of(path, "/mcp") == surface


@pytest.mark.parametrize("path", ["", "/", "/mcpx", "/other", "/MCP", "mcp"])
def test_another_path_is_not_found(path: str) -> None:
    with pytest.raises(NotFoundError, match="MCP is at /mcp"):
        surface_of(path, "/mcp")

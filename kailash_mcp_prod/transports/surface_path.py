"""Which set of tools an address names: `/mcp`, `/mcp/compact`, `/mcp/models/Company,Quote`."""

from __future__ import annotations

from kailash_mcp_prod.errors import NotFoundError


def surface_of(path: str, base: str) -> str | None:
    """The surface that a path below a transport's own names; `None` for the path itself.

    Raises:
        NotFoundError: The path is another one.

    Example:
        >>> surface_of("/mcp/compact", "/mcp")
        'compact'
    """
    path = path.rstrip("/")
    if path == base:
        return None
    if path.startswith(f"{base}/"):
        return path[len(base) + 1 :]
    raise NotFoundError(f"There is nothing here; MCP is at {base or '/'}.")

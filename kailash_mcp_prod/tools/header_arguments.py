"""Arguments that a tool wants repeated in HTTP headers, for gateways that route by them.

Source: the section *Custom Headers from Tool Parameters* of MCP 2026-07-28.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolSpec

HeaderPaths = Mapping[str, tuple[str, ...]]

_KEYWORD = "x-mcp-header"


def header_paths(input_schema: Mapping[str, Any]) -> HeaderPaths:
    """Where the arguments stand, by the name that follows `Mcp-Param-`, in lower case.

    Example:
        >>> header_paths({"properties": {"region": {"type": "string", "x-mcp-header": "Region"}}})
        {'region': ('region',)}
    """
    return dict(_marked(input_schema, ()))


def _marked(
    schema: Mapping[str, Any], path: tuple[str, ...]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for name, each in schema.get("properties", {}).items():
        if isinstance(each, Mapping):
            if isinstance(each.get(_KEYWORD), str):
                yield each[_KEYWORD].lower(), (*path, name)
            yield from _marked(each, (*path, name))


class HeaderArguments:
    """Those of the tools of a registry.

    Args:
        registry: The tools.
        find: The tool of that name as a principal sees it; `None` when it may not call it.
    """

    def __init__(
        self, registry: ToolRegistry, find: Callable[[Principal, str], ToolSpec | None]
    ) -> None:
        self._registry = registry
        self._find = find
        self._known: dict[str, HeaderPaths] = {}
        registry.subscribe(self._known.clear)

    def of(self, principal: Principal, name: str) -> HeaderPaths:
        """The arguments of a tool; none of one that the principal may not call."""
        tool = self._registry.get(name)
        if tool is None:
            return {}
        paths = self._known.get(name)
        if paths is None:
            paths = self._known[name] = header_paths(tool.input_schema)
        seen = self._find(principal, name) if paths else None
        if seen is None:
            return {}
        # Nor of a field that is hidden from it.
        return paths if seen is tool else header_paths(seen.input_schema)

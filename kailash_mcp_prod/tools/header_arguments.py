"""Arguments that a tool wants repeated in HTTP headers, for gateways that route by them.

Source: the section *Custom Headers from Tool Parameters* of MCP 2026-07-28.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

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

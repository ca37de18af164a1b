"""Arguments that the bridge repeats in headers, because a tool's schema says so.

Source: the section *Custom Headers from Tool Parameters* of the page *Streamable HTTP* of MCP
2026-07-28.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from kailash_mcp_prod.protocol.faults import HEADER_MISMATCH
from kailash_mcp_prod.protocol.mirroring import text_at
from kailash_mcp_prod.transports.bridge_http import (
    Answer,
    Endpoint,
    EventParser,
    UnreachableError,
    header_value,
)
from kailash_mcp_prod.transports.bridge_messages import as_object, declared_version, modern_headers

_log = logging.getLogger(__name__)

_KEYWORD: Final = "x-mcp-header"
_MARK: Final = _KEYWORD.encode()
_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_PRIMITIVE: Final = frozenset({"string", "integer", "boolean"})
_NAMED: Final = frozenset({"$defs", "definitions", "patternProperties", "dependentSchemas"})
_DATA: Final = frozenset({"default", "enum", "const", "examples"})
_MAX_TOOLS: Final = 10_000
_MAX_PAGES: Final = 50
_PATIENCE_SECONDS: Final = 30.0
_LIST_ID: Final = "tools-of-the-bridge"

Path = tuple[str, ...]


class ToolHeaders:
    """Knows which arguments of the server's tools go into headers, from its lists of them.

    Args:
        endpoint: The server.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._paths: dict[str, Mapping[str, Path]] = {}
        self._asking = asyncio.Lock()

    def of(self, fields: Mapping[str, Any]) -> dict[str, str]:
        """The headers for the arguments of a call; nothing for other messages."""
        if not _is_call(fields):
            return {}
        params = fields["params"]
        name = params.get("name")
        paths = self._paths.get(name, {}) if isinstance(name, str) else {}
        found = {header: text_at(params.get("arguments"), path) for header, path in paths.items()}
        return {
            f"Mcp-Param-{header}": header_value(text)
            for header, text in found.items()
            if text is not None
        }

    def take(self, body: bytes) -> bytes:
        """Learn from a response, if it is a list of tools that has marks.

        Returns it without those tools that break the rules.
        """
        if _MARK not in body:
            return body
        reply = as_object(body)
        tools = _tools_in(reply)
        kept = [tool for tool in tools if self._learn(tool)]
        if len(kept) == len(tools):
            return body
        return msgspec.json.encode({**reply, "result": {**reply["result"], "tools": kept}})

    @staticmethod
    def are_refused(fields: Mapping[str, Any], reply: Mapping[str, Any]) -> bool:
        """Whether a reply says that a call lacks headers, or has wrong ones."""
        error = reply.get("error")
        return _is_call(fields) and isinstance(error, dict) and error.get("code") == HEADER_MISMATCH

    async def ask(self, fields: Mapping[str, Any], sent: Mapping[str, str]) -> None:
        """Ask the server for its tools, unless others have done so meanwhile.

        Args:
            fields: The call that was refused.
            sent: The headers that went with it.
        """
        async with self._asking:
            if self.of(fields) != sent:
                return
            meta = {k: v for k, v in fields["params"]["_meta"].items() if k != "progressToken"}
            cursor: dict[str, Any] = {}
            with suppress(UnreachableError):
                for _ in range(_MAX_PAGES):
                    params = {**cursor, "_meta": meta}
                    result = await self._page(params)
                    following = result.get("nextCursor")
                    if not isinstance(following, str):
                        return
                    cursor = {"cursor": following}

    async def _page(self, params: dict[str, Any]) -> dict[str, Any]:
        asked = {"jsonrpc": "2.0", "id": _LIST_ID, "method": "tools/list", "params": params}
        async with self._endpoint.request(
            "POST", modern_headers(asked), msgspec.json.encode(asked), patience=_PATIENCE_SECONDS
        ) as answer:
            reply = await _response(answer)
        for tool in _tools_in(reply):
            self._learn(tool)
        result = reply.get("result")
        return result if isinstance(result, dict) else {}

    def _learn(self, tool: Any) -> bool:
        """Whether a tool obeys the rules."""
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str):
            return True
        self._paths.pop(name, None)
        try:
            paths = header_paths(tool.get("inputSchema"))
        except ValueError as broken:
            _log.warning("The tool %.128r is left out: %s", name, broken)
            return False
        if paths and len(self._paths) < _MAX_TOOLS:
            self._paths[name] = paths
        return True


def header_paths(schema: Any) -> dict[str, Path]:
    """Where the arguments stand that go into headers, by what follows `Mcp-Param-`.

    Raises:
        ValueError: The schema breaks a rule for them.
    """
    found: dict[str, Path] = {}
    for header, path, kind in _marked(schema):
        if not (isinstance(header, str) and _TOKEN.fullmatch(header)):
            raise ValueError(f"{header!r:.128} is no name of a header")
        if not path:
            raise ValueError(f"the header {header:.128} is not of a property of the arguments")
        if not isinstance(kind, str) or kind not in _PRIMITIVE:
            raise ValueError(f"the header {header:.128} is of no string, integer or boolean")
        if header.lower() in map(str.lower, found):
            raise ValueError(f"the header {header:.128} is there twice")
        found[header] = path
    return found


def _marked(schema: Any) -> Iterator[tuple[Any, Path | None, Any]]:
    """Each mark: the header, the path of the property or `None` for another place, its type."""
    waiting: list[tuple[Any, Path | None]] = [(schema, ())]
    while waiting:
        each, path = waiting.pop()
        if isinstance(each, list):
            waiting += [(item, None) for item in each]
        if not isinstance(each, dict):
            continue
        if _KEYWORD in each:
            yield each[_KEYWORD], path, each.get("type")
        for key, value in each.items():
            if key == "properties" and isinstance(value, dict):
                for name, below in value.items():
                    waiting.append((below, None if path is None else (*path, name)))
            elif key in _NAMED and isinstance(value, dict):
                waiting += [(below, None) for below in value.values()]
            elif key not in _DATA and key != _KEYWORD:
                waiting.append((value, None))


def _is_call(fields: Mapping[str, Any]) -> bool:
    return fields.get("method") == "tools/call" and declared_version(dict(fields)) is not None


def _tools_in(reply: Mapping[str, Any]) -> list[Any]:
    result = reply.get("result")
    tools = result.get("tools") if isinstance(result, dict) else None
    return tools if isinstance(tools, list) else []


async def _response(answer: Answer) -> dict[str, Any]:
    if not answer.has_events:
        return as_object(await answer.body())
    async for event in answer.events(EventParser()):
        reply = as_object(event.data)
        if reply.get("id") == _LIST_ID:
            return reply
    return {}

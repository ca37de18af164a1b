"""The tools that the suite wants to call, in the words of its own descriptions of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.errors import InvalidArgumentsError, NotFoundError, UnknownToolError
from kailash_mcp_prod.protocol import Peer, ToolContent
from kailash_mcp_prod.protocol.peer import SILENT
from kailash_mcp_prod.tools.header_arguments import header_paths
from kailash_mcp_prod.tools.lists import EncodedList
from tests.conformance.content import AUDIO, IMAGE, embedded, text
from tests.conformance.listeners import Listeners
from tests.conformance.prompts import Prompts
from tests.conformance.resources import Resources

Arguments = dict[str, Any]
Run = Callable[[Arguments, Peer], Awaitable[ToolContent]]

_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Tool:
    name: str
    run: Run
    schema: dict[str, Any] = field(default_factory=lambda: {"type": "object", "properties": {}})

    def to_dict(self) -> dict[str, Any]:
        """The MCP `Tool` object."""
        return {
            "name": self.name,
            "description": f"The fixture {self.name} of the conformance suite.",
            "inputSchema": self.schema,
        }


def says(words: str) -> ToolContent:
    """A result of one text."""
    return ToolContent([text(words)])


def needs(**properties: str) -> dict[str, Any]:
    """A schema of texts that are all required."""
    return {
        "type": "object",
        "properties": {
            name: {"type": "string", "description": description}
            for name, description in properties.items()
        },
        "required": list(properties),
        "additionalProperties": False,
    }


class Tools:
    """A `ToolHost` over a fixed set of tools and one that comes and goes."""

    def __init__(self, *families: list[Tool], prompts: Prompts, resources: Resources) -> None:
        own = [
            Tool("test_trigger_tool_change", self._change_tools),
            Tool("test_trigger_prompt_change", self._change_prompts),
            Tool("test_trigger_resource_update", self._update_resource),
        ]
        self._tools = {tool.name: tool for family in (*families, own) for tool in family}
        self._prompts = prompts
        self._resources = resources
        self._changed = Listeners()

    def check_surface(self, principal: Principal, name: str) -> None:
        if name != "full":
            raise NotFoundError(f"There is no surface {name!r}.")

    async def charge(self, principal: Principal) -> None:
        """Nothing is limited here."""

    def encoded_list(self, principal: Principal, surface: str | None = None) -> EncodedList:
        return EncodedList([tool.to_dict() for tool in self._tools.values()])

    async def call(
        self,
        principal: Principal,
        name: str,
        arguments: Arguments,
        *,
        request_id: str,
        surface: str | None = None,
        peer: Peer = SILENT,
        idempotency_key: str | None = None,
    ) -> dict[str, Any] | ToolContent:
        tool = self._tools.get(name)
        if tool is None:
            raise UnknownToolError(f"Unknown tool: {name[:64]}")
        for required in tool.schema.get("required", ()):
            if required not in arguments:
                raise InvalidArgumentsError(f"{required} is missing.", field=required)
        return await tool.run(arguments, peer)

    def header_arguments(self, principal: Principal, name: str) -> Mapping[str, tuple[str, ...]]:
        tool = self._tools.get(name)
        return {} if tool is None else header_paths(tool.schema)

    def on_tools_changed(self, listener: Callable[[], None]) -> Callable[[], None]:
        return self._changed.add(listener)

    async def ready(self) -> None:
        """At once."""

    async def _change_tools(self, _arguments: Arguments, _peer: Peer) -> ToolContent:
        if self._tools.pop("test_added_tool", None) is None:
            self._tools["test_added_tool"] = Tool("test_added_tool", _simple_text)
        self._changed.tell()
        return says("The list of tools has changed.")

    async def _change_prompts(self, _arguments: Arguments, _peer: Peer) -> ToolContent:
        self._prompts.change()
        return says("The list of prompts has changed.")

    async def _update_resource(self, _arguments: Arguments, _peer: Peer) -> ToolContent:
        self._resources.update()
        return says("A resource has changed.")


async def _simple_text(_arguments: Arguments, _peer: Peer) -> ToolContent:
    return says("This is a simple text response for testing.")


async def _image(_arguments: Arguments, _peer: Peer) -> ToolContent:
    return ToolContent([IMAGE])


async def _audio(_arguments: Arguments, _peer: Peer) -> ToolContent:
    return ToolContent([AUDIO])


async def _embedded_resource(_arguments: Arguments, _peer: Peer) -> ToolContent:
    words = "This is an embedded resource content."
    return ToolContent([embedded("test://embedded-resource", "text/plain", words)])


async def _mixed(_arguments: Arguments, _peer: Peer) -> ToolContent:
    data = json.dumps({"test": "data", "value": 123})
    resource = embedded("test://mixed-content-resource", "application/json", data)
    return ToolContent([text("Multiple content types test:"), IMAGE, resource])


async def _error(_arguments: Arguments, _peer: Peer) -> ToolContent:
    words = "This tool intentionally returns an error for testing"
    return ToolContent([text(words)], is_error=True)


async def _logging(_arguments: Arguments, peer: Peer) -> ToolContent:
    await peer.log("info", "Tool execution started")
    for words in ("Tool processing data", "Tool execution completed"):
        await asyncio.sleep(_PAUSE_SECONDS)
        await peer.log("info", words)
    return says("Tool with logging executed successfully")


async def _progress(_arguments: Arguments, peer: Peer) -> ToolContent:
    await peer.progress(0, 100)
    for progress in (50, 100):
        await asyncio.sleep(_PAUSE_SECONDS)
        await peer.progress(progress, 100)
    return says("Tool with progress executed successfully")


async def _reconnection(_arguments: Arguments, peer: Peer) -> ToolContent:
    await peer.pause_stream()
    await asyncio.sleep(_PAUSE_SECONDS)
    return says("Reconnection test completed successfully")


_SCHEMA_2020_12: dict[str, Any] = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {
        "address": {
            "$anchor": "addressDef",
            "type": "object",
            "properties": {"street": {"type": "string"}, "city": {"type": "string"}},
        }
    },
    "properties": {
        "name": {"type": "string"},
        "address": {"$ref": "#/$defs/address"},
        "contactMethod": {"type": "string", "enum": ["phone", "email"]},
        "phone": {"type": "string"},
        "email": {"type": "string"},
    },
    "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
    "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
    "then": {"required": ["phone"]},
    "else": {"required": ["email"]},
    "additionalProperties": False,
}

_MIRRORED: dict[str, Any] = {
    "type": "object",
    "properties": {"region": {"type": "string", "x-mcp-header": "Region"}},
    "required": ["region"],
}


CONTENT_TOOLS = [
    Tool("test_simple_text", _simple_text),
    Tool("test_image_content", _image),
    Tool("test_audio_content", _audio),
    Tool("test_embedded_resource", _embedded_resource),
    Tool("test_multiple_content_types", _mixed),
    Tool("test_error_handling", _error),
    Tool("test_tool_with_logging", _logging),
    Tool("test_logging_tool", _logging),
    Tool("test_tool_with_progress", _progress),
    Tool("test_reconnection", _reconnection),
    Tool("test_x_mcp_header", _simple_text, _MIRRORED),
    Tool("json_schema_2020_12_tool", _simple_text, _SCHEMA_2020_12),
]
"""Tools that need nothing of the client."""

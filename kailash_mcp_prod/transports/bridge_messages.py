"""What the bridge reads of the messages that it relays, and the headers that go with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeGuard

import msgspec

from kailash_mcp_prod.protocol.revisions import META_PROTOCOL_VERSION
from kailash_mcp_prod.transports.bridge_http import header_value

SESSION_HEADER: Final = "mcp-session-id"

# What decoding raises for a text that is no JSON, or none that we read.
NOT_JSON: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_NAMED_BY: Final = {
    "tools/call": "name",
    "prompts/get": "name",
    "resources/read": "uri",
    "tasks/get": "taskId",
    "tasks/update": "taskId",
    "tasks/cancel": "taskId",
}


@dataclass(frozen=True, slots=True)
class Session:
    """A session of the older era: what its requests carry as headers."""

    headers: Mapping[str, str]

    @classmethod
    def opened(cls, session_id: str | None, reply: dict[str, Any]) -> Session:
        """The session that the answer to a handshake opens; some servers give it no id."""
        headers = {SESSION_HEADER: session_id} if session_id else {}
        result = reply["result"]
        version = result.get("protocolVersion") if isinstance(result, dict) else None
        if isinstance(version, str):
            headers["MCP-Protocol-Version"] = header_value(version)
        return cls(headers)


def is_id(value: Any) -> TypeGuard[str | int]:
    """Whether a value may be the id of a request."""
    return isinstance(value, str | int) and not isinstance(value, bool)


def as_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body; an empty one for anything else."""
    try:
        found = msgspec.json.decode(body)
    except NOT_JSON:
        return {}
    return found if isinstance(found, dict) else {}


def declared_version(fields: dict[str, Any]) -> str | None:
    """The revision that a message names itself, which makes it a modern one."""
    params = fields.get("params")
    meta = params.get("_meta") if isinstance(params, dict) else None
    version = meta.get(META_PROTOCOL_VERSION) if isinstance(meta, dict) else None
    return version if isinstance(version, str) else None


def modern_headers(fields: dict[str, Any]) -> dict[str, str]:
    """What a modern message repeats in headers; nothing for one of the older era."""
    version = declared_version(fields)
    if version is None:
        return {}
    method, params = str(fields.get("method")), fields["params"]
    headers = {
        "MCP-Protocol-Version": header_value(version),
        "Mcp-Method": header_value(method),
    }
    name = params.get(_NAMED_BY.get(method, ""))
    if isinstance(name, str):
        headers["Mcp-Name"] = header_value(name)
    return headers

"""Holds wire messages against the official JSON schema of their protocol revision.

The schemas under `tests/spec` are copies of the specification's own. One deviation is known: for a
message whose id can't be read JSON-RPC demands `"id": null`, where MCP's schema has no id at all.
The two mean the same here.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

from jsonschema_rs import Draft202012Validator

from tests.json_schema import errors

MODERN = "2026-07-28"
LEGACY = "2025-11-25"

_SPEC = Path(__file__).parent / "spec"

_RESULTS = {
    LEGACY: {
        "initialize": "InitializeResult",
        "ping": "EmptyResult",
        "tools/list": "ListToolsResult",
        "tools/call": "CallToolResult",
        "resources/list": "ListResourcesResult",
        "resources/templates/list": "ListResourceTemplatesResult",
        "resources/read": "ReadResourceResult",
        "prompts/list": "ListPromptsResult",
        "prompts/get": "GetPromptResult",
        "completion/complete": "CompleteResult",
        "logging/setLevel": "EmptyResult",
        "resources/subscribe": "EmptyResult",
        "resources/unsubscribe": "EmptyResult",
    },
    MODERN: {
        "server/discover": "DiscoverResult",
        "tools/list": "ListToolsResult",
        "tools/call": "CallToolResult",
        "resources/list": "ListResourcesResult",
        "resources/templates/list": "ListResourceTemplatesResult",
        "resources/read": "ReadResourceResult",
        "prompts/list": "ListPromptsResult",
        "prompts/get": "GetPromptResult",
        "completion/complete": "CompleteResult",
        "tasks/get": "Result",
        "tasks/update": "EmptyResult",
        "tasks/cancel": "EmptyResult",
        "subscriptions/listen": "SubscriptionsListenResult",
    },
}
_REQUESTS = {
    "initialize": "InitializeRequest",
    "ping": "PingRequest",
    "server/discover": "DiscoverRequest",
    "tools/list": "ListToolsRequest",
    "tools/call": "CallToolRequest",
    "resources/list": "ListResourcesRequest",
    "resources/templates/list": "ListResourceTemplatesRequest",
    "resources/read": "ReadResourceRequest",
    "resources/subscribe": "SubscribeRequest",
    "resources/unsubscribe": "UnsubscribeRequest",
    "prompts/list": "ListPromptsRequest",
    "prompts/get": "GetPromptRequest",
    "completion/complete": "CompleteRequest",
    "logging/setLevel": "SetLevelRequest",
    "tasks/get": "JSONRPCRequest",
    "tasks/update": "JSONRPCRequest",
    "tasks/cancel": "JSONRPCRequest",
    "elicitation/create": "ElicitRequest",
    "sampling/createMessage": "CreateMessageRequest",
    "roots/list": "ListRootsRequest",
    "subscriptions/listen": "SubscriptionsListenRequest",
}
_NOTIFICATIONS = {
    "notifications/initialized": "InitializedNotification",
    "notifications/cancelled": "CancelledNotification",
    "notifications/tools/list_changed": "ToolListChangedNotification",
    "notifications/prompts/list_changed": "PromptListChangedNotification",
    "notifications/resources/list_changed": "ResourceListChangedNotification",
    "notifications/resources/updated": "ResourceUpdatedNotification",
    "notifications/progress": "ProgressNotification",
    "notifications/message": "LoggingMessageNotification",
    "notifications/subscriptions/acknowledged": "SubscriptionsAcknowledgedNotification",
}
_ERRORS = {
    -32020: "HeaderMismatchError",
    -32021: "MissingRequiredClientCapabilityError",
    -32022: "UnsupportedProtocolVersionError",
}


@functools.cache
def _definitions(revision: str) -> dict[str, Any]:
    schema: dict[str, Any] = json.loads((_SPEC / revision / "schema.json").read_text())
    definitions: dict[str, Any] = schema["$defs"]
    return definitions


@functools.cache
def _validator(revision: str, definition: str) -> Draft202012Validator:
    schema = {"$ref": f"#/$defs/{definition}", "$defs": _definitions(revision)}
    return Draft202012Validator(schema)


def check(revision: str, definition: str, value: Any) -> None:
    """Assert that a value is an instance of a definition of the revision's schema."""
    found = errors(_validator(revision, definition), value)
    assert not found, f"{definition} of {revision}: {found[:3]} in {str(value)[:500]}"


def check_request(revision: str, message: dict[str, Any]) -> None:
    """Assert that a test sends what a real client could send."""
    check(revision, _REQUESTS[message["method"]], message)


def check_notification(revision: str, message: dict[str, Any]) -> None:
    """Assert that a message is one of the revision's notifications."""
    assert "id" not in message
    check(revision, _NOTIFICATIONS[message["method"]], message)


def check_response(revision: str, message: dict[str, Any], method: str | None = None) -> None:
    """Assert that a message is a response; with a method, that its result is the method's."""
    assert message["jsonrpc"] == "2.0"
    assert "id" in message, "a response has an id, be it null"
    if "error" in message:
        stripped = {key: value for key, value in message.items() if value is not None}
        check(revision, "JSONRPCErrorResponse", stripped)
        code = message["error"]["code"]
        if code in _ERRORS:
            check(MODERN, _ERRORS[code], stripped)
        return
    check(revision, "JSONRPCResultResponse", message)
    if method is None:
        return
    match message["result"].get("resultType"):
        case "input_required":
            check(revision, "InputRequiredResult", message["result"])
        case "task":
            # The extension's own schema is not part of the specification's.
            check(revision, "Result", message["result"])
        case _:
            check(revision, _RESULTS[revision][method], message["result"])

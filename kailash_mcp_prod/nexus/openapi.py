"""What is served below the prefix, in the OpenAPI document of the Nexus app."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from kailash_mcp_prod.nexus.rest_bodies import LONGEST_LABEL
from kailash_mcp_prod.nexus.rest_workflows import CLEANUP, CREATE, STATUS, STEP
from kailash_mcp_prod.sessions.workflow_listing import LONGEST_PAGE, OUTPUT, PAGE

Schema = dict[str, Any]
Schemas = Mapping[str, tuple[Mapping[str, Any], Mapping[str, Any]]]
"""The schemas of tools' arguments and results, by their names."""

_TAG: Final = "mcp"
_SESSION: Final = "workflow_session_id"
_TEXT: Final[Schema] = {"type": "string"}
_COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
_OBJECT: Final[Schema] = {"type": "object"}
_SECURITY: Final = {
    "MCPBearer": {"type": "http", "scheme": "bearer"},
    "MCPApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_EVENTS: Final = {"text/event-stream": {"schema": _TEXT}}
CODES: Final = (
    *("invalid_arguments", "unauthenticated", "forbidden", "not_found", "conflict"),
    *("rate_limited", "overloaded", "circuit_open", "timeout", "unavailable", "internal"),
)


def _form(properties: Mapping[str, Schema], *optional: str) -> Schema:
    required = [name for name in properties if name not in optional]
    return {"type": "object", "properties": dict(properties), "required": required}


_COMPONENTS: Final[dict[str, Schema]] = {
    "MCPError": _form(
        {
            "error": _form(
                {
                    "code": {"enum": list(CODES)},
                    "message": _TEXT,
                    "retryable": {"type": "boolean"},
                    "retry_after_seconds": {"type": "number"},
                    "field": {**_TEXT, "description": "What in the request is wrong."},
                    "details": _OBJECT,
                    "request_id": {**_TEXT, "description": "Leads to the lines of the log."},
                },
                *("retry_after_seconds", "field", "details"),
            )
        }
    ),
    "MCPStatus": _form(
        {
            "status": {"enum": ["ready", "degraded", "unhealthy", "draining"]},
            "components": {"type": "object", "additionalProperties": _TEXT},
            "endpoints": {"type": "object", "additionalProperties": _TEXT},
            "tools": _COUNT,
            "models": _COUNT,
            "workflows": _COUNT,
            "caller": _form(
                {
                    "subject": _TEXT,
                    "method": _TEXT,
                    "tenant": {"type": ["string", "null"]},
                    "roles": {"type": "array", "items": _TEXT},
                }
            ),
        }
    ),
    "MCPTools": _form(
        {
            "tools": {
                "type": "array",
                "items": _form(
                    {
                        "name": _TEXT,
                        "title": _TEXT,
                        "description": _TEXT,
                        "inputSchema": _OBJECT,
                        "annotations": _OBJECT,
                    },
                    *("title", "annotations"),
                ),
            }
        }
    ),
    "MCPCall": {
        **_form(
            {
                "tool_name": {**_TEXT, "description": "The tool; name says the same."},
                "name": _TEXT,
                "arguments": {
                    **_OBJECT,
                    "description": "As its inputSchema says; parameters says the same.",
                },
                "parameters": _OBJECT,
                "session_id": {
                    "type": ["string", "null"],
                    "maxLength": LONGEST_LABEL,
                    "description": "The agent session of yours in which the call is made.",
                },
                "agent_id": {
                    "type": ["string", "null"],
                    "maxLength": LONGEST_LABEL,
                    "description": "Noted in the log; who calls is told by the credential.",
                },
            },
            *("tool_name", "name", "arguments", "parameters", "session_id", "agent_id"),
        ),
        "oneOf": [{"required": ["tool_name"]}, {"required": ["name"]}],
        "not": {"required": ["arguments", "parameters"]},
        "additionalProperties": False,
    },
    "MCPMessage": {
        **_form(
            {
                "jsonrpc": {"const": "2.0"},
                "id": {"type": ["string", "integer"]},
                "method": _TEXT,
                "params": _OBJECT,
                "result": _OBJECT,
                "error": _OBJECT,
            },
            *("id", "method", "params", "result", "error"),
        ),
        "description": "A message of the Model Context Protocol.",
    },
}


def with_mcp(
    document: Mapping[str, Any], prefix: str, schemas: Schemas, *, asks: bool
) -> dict[str, Any]:
    """The app's document with what is served below the prefix.

    It names no tools and no workflows: not everybody who may read it may know of them.

    Args:
        document: The document; it stays as it is.
        prefix: Such as `/api/mcp`.
        schemas: Those of the tools for workflow sessions.
        asks: Whether callers need a credential.
    """
    components = dict(document.get("components") or {})
    components["schemas"] = {**components.get("schemas", {}), **_COMPONENTS}
    if asks:
        components["securitySchemes"] = {**components.get("securitySchemes", {}), **_SECURITY}
    needs: Schema = {"security": [{name: []} for name in _SECURITY]} if asks else {}
    paths = {
        f"{prefix}{path}": {
            method: {"tags": [_TAG], **needs, **operation}
            for method, operation in operations.items()
        }
        for path, operations in _paths(schemas).items()
    }
    return {
        **document,
        "paths": {**document.get("paths", {}), **paths},
        "components": components,
    }


def _paths(schemas: Schemas) -> dict[str, dict[str, Schema]]:
    surface = _query("surface", _TEXT, "Another surface, such as compact.")
    session = {"name": _SESSION, "in": "path", "required": True, "schema": _TEXT}
    step, step_result = schemas[STEP]
    properties = {name: each for name, each in step["properties"].items() if name != _SESSION}
    step = {**step, "properties": properties, "required": []}
    return {
        "": {
            "post": {
                **_operation("mcp_message", "Send a message of MCP", None, _named("MCPMessage")),
                "responses": {
                    **_responses({"content": {**_json(_named("MCPMessage")), **_EVENTS}}),
                    "202": {"description": "Taken; a notification has no answer."},
                },
            },
            "get": {
                **_operation("mcp_stream", "Open the stream of a session"),
                "responses": _responses({"content": _EVENTS}),
            },
            "delete": {
                **_operation("mcp_end_session", "End a session"),
                "responses": _responses({}, "204"),
            },
        },
        "/status": {
            "get": _operation(
                "mcp_status", "What is mounted, how it is, what you may do", _named("MCPStatus")
            )
        },
        "/tools": {
            "get": {
                **_operation("mcp_tools", "The tools that you may call", _named("MCPTools")),
                "parameters": [surface],
            }
        },
        "/execute-tool": {
            "post": _operation("mcp_execute_tool", "Call a tool", _OBJECT, _named("MCPCall"))
        },
        "/workflows": {
            "get": {
                **_operation("mcp_list_workflow_sessions", "List workflow sessions", OUTPUT),
                "parameters": [
                    _query(
                        "limit",
                        {"type": "integer", "minimum": 1, "maximum": LONGEST_PAGE, "default": PAGE},
                        "How many at most.",
                    ),
                    _query("cursor", _TEXT, "next_cursor of the page before."),
                    _query("all", {"type": "boolean"}, "Everybody's; this needs monitor:read."),
                ],
            },
            "post": {
                **_operation(
                    "mcp_create_workflow_session",
                    "Start a workflow session",
                    schemas[CREATE][1],
                    schemas[CREATE][0],
                    status="201",
                ),
            },
            "delete": {
                **_operation(
                    "mcp_clean_workflow_sessions", "Remove those that are over", schemas[CLEANUP][1]
                ),
                "parameters": [
                    _query("idle_minutes", {"type": "number", "minimum": 0}, "Or idle for so long.")
                ],
            },
        },
        f"/workflows/{{{_SESSION}}}": {
            "get": {
                **_operation("mcp_workflow_session", "Show a workflow session", schemas[STATUS][1]),
                "parameters": [
                    session,
                    _query("include_results", {"type": "boolean"}, "With what steps have given."),
                ],
            },
            "delete": {
                **_operation(
                    "mcp_remove_workflow_session", "Remove a workflow session", schemas[CLEANUP][1]
                ),
                "parameters": [session],
            },
        },
        f"/workflows/{{{_SESSION}}}/steps": {
            "post": {
                **_operation("mcp_execute_step", "Execute a step", step_result, step),
                "parameters": [session],
            }
        },
    }


def _operation(
    name: str,
    summary: str,
    answer: Mapping[str, Any] | None = None,
    body: Mapping[str, Any] | None = None,
    *,
    status: str = "200",
) -> Schema:
    found: Schema = {"operationId": name, "summary": summary}
    if answer is not None:
        found["responses"] = _responses({"content": _json(answer)}, status)
    if body is not None:
        found["requestBody"] = {"required": True, "content": _json(body)}
    return found


def _responses(good: Schema, status: str = "200") -> Schema:
    wrong = {"content": _json(_named("MCPError"))}
    return {
        status: {"description": "Done.", **good},
        # Of the app's own authentication, if it has one, and then in that one's form.
        "401": {"description": "There is no credential, or none that is good."},
        "4XX": {"description": "The request is wrong, or not allowed.", **wrong},
        "5XX": {"description": "The server can't do this, or not now.", **wrong},
    }


def _query(name: str, schema: Schema, description: str) -> Schema:
    return {"name": name, "in": "query", "description": description, "schema": schema}


def _json(schema: Mapping[str, Any]) -> Schema:
    return {"application/json": {"schema": schema}}


def _named(component: str) -> Schema:
    return {"$ref": f"#/components/schemas/{component}"}

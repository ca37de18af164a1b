"""The OpenAPI document of REST: FastAPI finds the routes, and here stands what they answer.

It names no tools: not everybody who may read it may know of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from fastapi import FastAPI

from kailash_mcp_prod.transports.rest_health import LIVE, READY

Schema = dict[str, Any]

CODES: Final = (
    *("invalid_arguments", "unauthenticated", "forbidden", "not_found", "conflict"),
    *("rate_limited", "overloaded", "circuit_open", "timeout", "unavailable", "internal"),
)
"""All codes of errors."""

_TEXT: Final[Schema] = {"type": "string"}
_OBJECT: Final[Schema] = {"type": "object"}
_SECURITY: Final = {
    "Bearer": {"type": "http", "scheme": "bearer"},
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
_NEEDED: Final[list[Schema]] = [{name: []} for name in _SECURITY]


def _form(properties: Mapping[str, Schema], *required: str) -> Schema:
    return {"type": "object", "properties": dict(properties), "required": list(required)}


def _named(component: str) -> Schema:
    return {"$ref": f"#/components/schemas/{component}"}


def _header(description: str, schema: Schema, *, required: bool = False) -> Schema:
    return {"description": description, "schema": schema, "required": required}


_REQUEST_ID: Final = {
    "X-Request-Id": _header("Leads to the lines of the log.", _TEXT, required=True)
}
_COMPONENTS: Final[dict[str, Schema]] = {
    "Error": _form(
        {
            "error": _form(
                {
                    "code": {"enum": list(CODES)},
                    "message": {**_TEXT, "description": "What is wrong and what to do about it."},
                    "retryable": {"type": "boolean"},
                    "retry_after_seconds": {"type": "number", "exclusiveMinimum": 0},
                    "field": {**_TEXT, "description": "What in the arguments is wrong."},
                    "details": _OBJECT,
                    "request_id": {**_TEXT, "description": "The same as X-Request-Id."},
                },
                *("code", "message", "retryable", "request_id"),
            )
        },
        "error",
    ),
    "Tool": _form(
        {
            "name": _TEXT,
            "title": _TEXT,
            "description": _TEXT,
            "inputSchema": _OBJECT,
            "outputSchema": _OBJECT,
            "annotations": _OBJECT,
        },
        *("name", "description", "inputSchema"),
    ),
    "Tools": _form({"tools": {"type": "array", "items": _named("Tool")}}, "tools"),
    "Health": _form(
        {
            "health_status": {"enum": ["healthy", "degraded", "unhealthy", "draining"]},
            "components": {
                "type": "object",
                "additionalProperties": _form({"status": _TEXT}, "status"),
            },
        },
        "health_status",
    ),
}
_CALL: Final[Schema] = {
    "requestBody": {
        "description": "The tool's arguments, as its `inputSchema` says.",
        "content": {"application/json": {"schema": _OBJECT}},
    },
    "parameters": [
        {
            "name": "Idempotency-Key",
            "in": "header",
            "description": "A write with the same key is done once.",
            "schema": {
                "type": "string",
                "minLength": 1,
                "maxLength": 255,
                "pattern": "^[A-Za-z0-9._~-]+$",
            },
        }
    ],
}


class DocumentedApp(FastAPI):
    """FastAPI, whose document says what is answered, errors too.

    Attributes:
        asks: Whether callers need a credential.
    """

    asks: bool = True

    def openapi(self) -> dict[str, Any]:
        """The document."""
        if self.openapi_schema is None:
            found = super().openapi()
            paths = {
                path: _complete(path, each, self.asks) for path, each in found["paths"].items()
            }
            components: Schema = {"schemas": _COMPONENTS}
            if self.asks:
                components["securitySchemes"] = _SECURITY
            self.openapi_schema = {**found, "paths": paths, "components": components}
        return self.openapi_schema


def _complete(path: str, operations: Mapping[str, Schema], asks: bool) -> Schema:
    return {
        method: _operation(f"{method.upper()} {path}", operation, asks)
        for method, operation in operations.items()
    }


def _operation(route: str, told: Schema, asks: bool) -> Schema:
    name, good, more, credential = _ROUTES[route]
    parameters = [*told.get("parameters", ()), *more.get("parameters", ())]
    security: list[Schema] = {
        "needed": _NEEDED,
        "optional": [{}, *_NEEDED],
        "none": [],
    }[credential]
    return {
        **told,
        **more,
        "operationId": name,
        "parameters": parameters,
        "responses": {**{status: _with_id(each) for status, each in good.items()}, **_WRONG},
        **({"security": security} if asks else {}),
    }


def _with_id(response: Schema) -> Schema:
    return {**response, "headers": {**_REQUEST_ID, **response.get("headers", {})}}


def _json(description: str, schema: Schema, **headers: Schema) -> Schema:
    content = {"application/json": {"schema": schema}}
    return {"description": description, "content": content, "headers": headers}


_WRONG: Final[dict[str, Schema]] = {
    "401": _with_id(
        _json(
            "There is no credential, or none that is good.",
            _named("Error"),
            **{"WWW-Authenticate": _header("What to get.", _TEXT)},
        )
    ),
    "4XX": _with_id(
        _json(
            "The request is wrong, or not allowed.",
            _named("Error"),
            **{"Retry-After": _header("In how many seconds.", {"type": "integer"})},
        )
    ),
    "5XX": _with_id(
        _json(
            "The server can't do this, or not now.",
            _named("Error"),
            **{"Retry-After": _header("In how many seconds.", {"type": "integer"})},
        )
    ),
}
_HEALTH: Final[dict[str, Schema]] = {
    "200": _json("It serves: it is healthy or degraded.", _named("Health")),
    "503": _json("It does not.", {"anyOf": [_named("Health"), _named("Error")]}),
}
_LIST: Final[dict[str, Schema]] = {
    "200": _json("The tools.", _named("Tools"), ETag=_header("The list's fingerprint.", _TEXT)),
    "304": {"description": "The client has this list: `If-None-Match` names it."},
}
_METRICS: Final[dict[str, Schema]] = {
    "200": {
        "description": "The metrics.",
        "content": {
            "text/plain": {"schema": _TEXT},
            "application/openmetrics-text": {"schema": _TEXT},
            "application/json": {"schema": _OBJECT},
        },
    }
}
_ROUTES: Final[dict[str, tuple[str, dict[str, Schema], Schema, str]]] = {
    "GET /tools": ("list_tools", _LIST, {}, "needed"),
    "GET /tools/{name}": (
        "describe_tool",
        {"200": _json("The tool.", _named("Tool"))},
        {},
        "needed",
    ),
    "POST /tools/{name}": ("call_tool", {"200": _json("The result.", _OBJECT)}, _CALL, "needed"),
    "GET /health": ("health", _HEALTH, {}, "optional"),
    f"GET {LIVE}": ("health_live", _HEALTH, {}, "none"),
    f"GET {READY}": ("health_ready", _HEALTH, {}, "none"),
    "GET /metrics": ("metrics", _METRICS, {}, "needed"),
}
"""For each route its name, good answers, what else is said of it, and its need of a credential."""

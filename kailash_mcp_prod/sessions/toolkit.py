"""How the tools for agents are made: all alike, and short in lists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from kailash_mcp_prod.sessions.arguments import Arguments, JsonSchema
from kailash_mcp_prod.tools.spec import DATABASE, Handler, Hints, Listing, ToolSpec

GROUP: Final = "session"
READ: Final = "session:read"
WRITE: Final = "session:write"

READS: Final = Hints(read_only=True, destructive=False, idempotent=True)
ADDS: Final = Hints(read_only=False, destructive=False, idempotent=False)
CHANGES: Final = Hints(read_only=False, destructive=True, idempotent=False)
ENDS: Final = Hints(read_only=False, destructive=True, idempotent=True)

TEXT: Final[JsonSchema] = {"type": "string"}
WHOLE: Final[JsonSchema] = {"type": "integer"}
NUMBER: Final[JsonSchema] = {"type": "number"}
FLAG: Final[JsonSchema] = {"type": "boolean"}
OBJECT: Final[JsonSchema] = {"type": "object"}
INSTANT: Final[JsonSchema] = {"type": "string", "format": "date-time"}


def each(items: JsonSchema) -> JsonSchema:
    """The schema of a list in a result."""
    return {"type": "array", "items": items}


def result(properties: Mapping[str, JsonSchema], *optional: str) -> JsonSchema:
    """The schema of a result, all of whose members are there but the optional ones."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


LEASE: Final = result(
    {
        "model": TEXT,
        "id": {"type": ["string", "integer"]},
        "agent_id": TEXT,
        "fencing_token": WHOLE,
        "expires_at": INSTANT,
    }
)


def agent_tool(
    name: str,
    title: str,
    description: str,
    form: Arguments,
    *,
    output: JsonSchema,
    hints: Hints,
    handler: Handler,
    brief: str,
    hidden: Sequence[str] = (),
    plain: Sequence[str] = (),
    untyped: Sequence[str] = (),
) -> ToolSpec:
    """A tool for agents; lists show `brief` and a schema without what errors will tell.

    Args:
        name: Its name.
        title: What people are shown.
        description: What agents are told who ask for it.
        form: Its arguments.
        output: The schema of its result.
        hints: What it does to what there is; by that it needs the permission to read or write.
        handler: Runs it.
        brief: What lists say.
        hidden: Arguments that lists leave out.
        plain: Arguments of which lists do not say what is in them.
        untyped: Arguments of which lists say no type, because they may have several.
    """
    schema = form.schema()
    return ToolSpec(
        name=name,
        title=title,
        description=description,
        input_schema=schema,
        output_schema=output,
        hints=hints,
        permissions=(READ if hints.read_only else WRITE,),
        group=GROUP,
        handler=handler,
        listing=Listing(brief, _listed(schema, hidden, plain, untyped)),
        backend=DATABASE,
    )


_KEPT: Final = frozenset({"type", "properties", "required", "items", "enum"})


def _listed(
    schema: JsonSchema, hidden: Sequence[str], plain: Sequence[str], untyped: Sequence[str]
) -> JsonSchema:
    short = _short(schema)
    properties = {
        name: {} if name in untyped else _plain(kind) if name in plain else kind
        for name, kind in short["properties"].items()
        if name not in hidden
    }
    return {**short, "properties": properties}


def _plain(kind: JsonSchema) -> JsonSchema:
    # Some clients refuse an array of which it is not said what is in it.
    items = {"items": {"type": kind["items"]["type"]}} if "items" in kind else {}
    return {"type": kind["type"], **items}


def _short(schema: JsonSchema) -> JsonSchema:
    found: JsonSchema = {}
    for name, value in schema.items():
        if name == "properties":
            found[name] = {key: _short(each) for key, each in value.items()}
        elif name == "items":
            found[name] = _short(value)
        elif name == "type" and value[0] in {"array", "object"}:
            # Lists show the one form that has everything, which every client can read.
            found[name] = value[0]
        elif name in _KEPT:
            found[name] = value
    return found

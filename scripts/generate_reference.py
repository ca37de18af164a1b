"""Writes the pages on tools, errors and permissions: `python -m scripts.generate_reference`.

With `--check` it writes nothing, and fails when a page is not as it would write it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping
from itertools import groupby
from pathlib import Path
from typing import Any

from kailash_mcp_prod import ProductionMCPServer, ServerConfig
from kailash_mcp_prod.auth.policy import READ_OPERATIONS
from kailash_mcp_prod.auth.principal import LOCAL
from kailash_mcp_prod.errors import ServerError, StartupError
from kailash_mcp_prod.nexus.tools import EXECUTE, LIST
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.operations import DEFAULT_OPERATIONS, Operation
from kailash_mcp_prod.tools.models_info import NAME as MODELS_INFO
from kailash_mcp_prod.tools.models_info import models_info_tool
from kailash_mcp_prod.tools.spec import ToolSpec
from scripts import reference_texts as texts

DOCS = Path(__file__).parents[1] / "docs"
EXAMPLE = "Company"


def described(operations: Iterable[Operation]) -> ProductionMCPServer:
    """The reference application's server with its tools, without a database."""
    config = ServerConfig(enable_auth=False, operations=tuple(operations))
    server = ProductionMCPServer(config)
    asyncio.run(server.describe())
    # A server that has no database does not know how tables are reached.
    known = server.registry, server.policy, server.application.models
    server.registry.add([models_info_tool(*known, _reached)])
    return server


def _reached(model: str) -> Execution:
    raise LookupError(model)


def tools_page(server: ProductionMCPServer) -> str:
    """All tools, by family."""
    tools = list(server.registry)
    parts = [texts.GENERATED, texts.TOOLS, "\n", texts.RECORDS]
    parts += [_tool(each) for each in tools if each.group == EXAMPLE]
    models = dict.fromkeys(each.group for each in tools if each.operation is not None)
    parts += ["\n### The models\n\n", texts.MODELS, "\n"]
    parts += [f"- `{model}`: {_purpose(server, model)}\n" for model in models]
    order = list(texts.FAMILIES)
    others = (each for each in tools if each.operation is None)
    for family, found in groupby(
        sorted(others, key=lambda each: order.index(_family_of(each))), key=_family_of
    ):
        title, text = texts.FAMILIES[family]
        parts += [f"\n## {title}\n\n{text}\n", *(_tool(each) for each in found)]
    parts += ["\n", texts.NEXUS.format(list=LIST, execute=EXECUTE), "\n", texts.SURFACES]
    for surface in ("compact", "search"):
        parts.append(f"\n### `{surface}`\n\n| tool | arguments | what it does |\n|---|---|---|\n")
        parts += [
            f"| `{tool['name']}` | {_names(tool['inputSchema'])} | {_line(tool['description'])} |\n"
            for tool in json.loads(server.service.encoded_list(LOCAL, surface).body)
        ]
    return "".join(parts)


def errors_page() -> str:
    """All codes, and the exit codes of commands."""
    parts = [texts.GENERATED, texts.ERRORS, "\n| code | REST | retry | meaning | what to do |\n"]
    parts.append("|---|---|---|---|---|\n")
    kinds = [
        each
        for each in ServerError.__subclasses__()
        if each.__module__ == "kailash_mcp_prod.errors"
    ]
    for kind in sorted(kinds, key=lambda each: each.http_status):
        retry = "yes" if kind.retryable else "no"
        parts.append(
            f"| `{kind.code}` | {kind.http_status} | {retry} | {_line(kind.__doc__)} "
            f"| {texts.TO_DO[kind.code]} |\n"
        )
    parts += ["\n", texts.EXITS]
    starts = (StartupError, *StartupError.__subclasses__())
    parts += [
        f"| {each.exit_code} | `{each.__name__}` | {_line(each.__doc__)} |\n" for each in starts
    ]
    return "".join(parts)


def permissions_page(server: ProductionMCPServer) -> str:
    """All grants, and what each tool needs."""
    reads = [f"`{each}`" for each in Operation if str(each) in READ_OPERATIONS]
    writes = [f"`{each}`" for each in Operation if str(each) not in READ_OPERATIONS]
    head = texts.PERMISSIONS.format(reads=", ".join(reads), writes=", ".join(writes))
    needed: dict[str, list[str]] = {}
    for tool in server.registry:
        if tool.operation is None or tool.group == EXAMPLE:
            needs = " and ".join(f"`{each}`" for each in tool.permissions) or "nothing of their own"
            needed.setdefault(needs, []).append(f"`{tool.name}`")
    rows = [f"| {', '.join(names)} | {needs} |\n" for needs, names in needed.items()]
    nexus = f"| `{EXECUTE}` | `nexus:NAME` of the workflow |\n| `{LIST}` | any of `nexus:NAME` |\n"
    return "".join([texts.GENERATED, head, *rows, nexus])


def _tool(tool: ToolSpec) -> str:
    needs = " and ".join(f"`{each}`" for each in tool.permissions) or "nothing of its own"
    hints = [
        word
        for word, holds in (
            ("read-only", tool.hints.read_only),
            ("destructive", tool.hints.destructive),
            ("idempotent", tool.hints.idempotent),
            ("keys", tool.takes_keys),
        )
        if holds
    ]
    usual = tool.operation is None or tool.operation in {str(each) for each in DEFAULT_OPERATIONS}
    off = "" if usual else " Off by default."
    head = f"\n### `{tool.name}`\n\n{_line(tool.description)}{off}\n\nNeeds {needs}."
    if hints:
        head += f" {', '.join(hints).capitalize()}."
    properties: Mapping[str, Any] = tool.input_schema.get("properties", {})
    if not properties:
        return f"{head} No arguments.\n"
    required = set(tool.input_schema.get("required", ()))
    rows = [
        f"| `{name}`{'' if name in required else '?'} | {_type(schema)} "
        f"| {_line(schema.get('description'))} |\n"
        for name, schema in properties.items()
    ]
    return f"{head}\n\n| argument | type | meaning |\n|---|---|---|\n{''.join(rows)}"


def _family_of(tool: ToolSpec) -> str:
    return "models" if tool.name == MODELS_INFO else tool.group


def _purpose(server: ProductionMCPServer, model: str) -> str:
    description = next(
        each.description for each in server.application.models() if each.name == model
    )
    return _line(description)


def _names(schema: Mapping[str, Any]) -> str:
    required = set(schema.get("required", ()))
    return ", ".join(
        f"`{name}`" if name in required else f"`{name}?`" for name in schema.get("properties", {})
    )


def _type(schema: Mapping[str, Any]) -> str:
    """A type in words."""
    if choices := schema.get("enum"):
        shown = ", ".join(
            f"`{each if isinstance(each, str) else json.dumps(each)}`" for each in choices[:8]
        )
        return f"one of {shown}{', …' if len(choices) > 8 else ''}"
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(_type(each) for each in schema[several]))
    kind = schema.get("type", "any")
    if isinstance(kind, list):
        return " or ".join(kind)
    if kind == "array":
        return f"list of {_type(schema.get('items', {}))}"
    limits = [
        f"{word} {schema[bound]:,}"
        for bound, word in (("minimum", "from"), ("maximum", "to"))
        if bound in schema
    ]
    return " ".join([kind, *limits])


def _line(text: str | None) -> str:
    """The first paragraph as one line of a table."""
    paragraph = (text or "").strip().partition("\n\n")[0].partition("\nExample:")[0]
    return " ".join(paragraph.split()).replace("|", "\\|")


def pages() -> dict[Path, str]:
    """All of them."""
    server = described(Operation)
    return {
        DOCS / "tools-reference.md": tools_page(server),
        DOCS / "errors.md": errors_page(),
        DOCS / "permissions.md": permissions_page(server),
    }


def main() -> None:
    """Writes or checks the pages."""
    os.environ.setdefault("DATABASE_URL", "sqlite:///unused.db")
    stale = []
    for path, text in pages().items():
        if "--check" not in sys.argv[1:]:
            path.write_text(text, encoding="utf-8")
        elif not path.is_file() or path.read_text("utf-8") != text:
            stale.append(path.name)
    if stale:
        sys.exit(f"Not current: {', '.join(stale)}. Run `python -m scripts.generate_reference`.")


if __name__ == "__main__":
    main()

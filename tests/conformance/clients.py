"""The MCP Inspector and the TypeScript SDK, both versions of it, against the real server."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.conformance.node import HERE, MODULES
from tests.conformance.report import Report
from tests.e2e.servers import COMMAND, DEVELOPMENT, STDIO, HttpServer, environment, serving

_INSPECTOR = MODULES / "@modelcontextprotocol" / "inspector" / "clients/launcher/build/index.js"
_SECONDS = 60
_TOOL_FAILED = 5
_NAME = "Nordlicht GmbH"
_GOOD = {"data": {"name": _NAME, "city": "Kiel"}}
_REVISIONS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
_BAD = {"data": {"nam": _NAME}}
# Output schemas let the clients check each result against the tool's own promise.
_SETTINGS = {"MCP_LIST_OUTPUT_SCHEMAS": "true"}

Outcome = subprocess.CompletedProcess[str]


def judge_with_clients(node: Path) -> Iterator[Report]:
    """One report for each client; the servers run in a folder and on a database of their own."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        workdir = Path(folder) / "server"
        home.mkdir()
        workdir.mkdir()
        with serving(workdir, *DEVELOPMENT, settings=_SETTINGS) as server:
            yield _inspector(node, home, server)
            yield from _typescript(node, server)


def _run(node: Path, arguments: list[str], workdir: Path, **settings: str) -> Outcome:
    return subprocess.run(
        [str(node), *arguments],
        cwd=workdir,
        env=environment(**_SETTINGS, **settings),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )


def _inspector(node: Path, home: Path, server: HttpServer) -> Report:
    report = Report("The real server by the MCP Inspector")
    config = home / "servers.json"
    serve = [*COMMAND, "serve", *STDIO]
    http = {"type": "streamable-http", "url": server.mcp}
    stdio = {
        "command": serve[0],
        "args": serve[1:],
        "cwd": str(server.workdir),
        # It passes on only a part of its own environment.
        "env": {**environment(**_SETTINGS), "HOME": str(home)},
    }
    config.write_text(json.dumps({"mcpServers": {"http": http, "stdio": stdio}}))

    def inspect(name: str, era: str, method: str, *options: str) -> Outcome:
        chosen = ["--config", str(config), "--server", name, "--protocol-era", era]
        call = [str(_INSPECTOR), "--cli", *chosen, "--method", method, *options]
        return _run(node, call, home, HOME=str(home))

    for name, era in (("http", "legacy"), ("http", "modern"), ("stdio", "auto")):
        where = f"over {name} ({era})"
        tools = inspect(name, era, "tools/list", "--strict")
        report.check(tools.returncode == 0, f"tools/list --strict {where}: {tools.stderr[-500:]}")
        create = ("tools/call", "--tool-name", "Company_create", "--tool-args-json")
        created = inspect(name, era, *create, json.dumps(_GOOD))
        report.check(_NAME in created.stdout, f"tools/call {where}: {created.stderr[-500:]}")
        if name == "stdio":
            continue
        refused = inspect(name, era, *create, json.dumps(_BAD))
        report.check(
            refused.returncode == _TOOL_FAILED and "invalid_arguments" in refused.stdout,
            f"a tools/call that is refused {where}: {refused.stderr[-500:]}",
        )
        for method, member in (("resources/list", "resources"), ("prompts/list", "prompts")):
            listed = inspect(name, era, method)
            report.check(
                listed.returncode == 0 and isinstance(json.loads(listed.stdout)[member], list),
                f"{method} {where}: {listed.stderr[-500:]}",
            )
    return report


def _typescript(node: Path, server: HttpServer) -> Iterator[Report]:
    stdio = ("stdio", *COMMAND, "serve", *STDIO)
    for client, era in (
        ("v1", "legacy"),
        ("v2-legacy", "legacy"),
        ("v2-auto", "modern"),
        ("v2-modern", "modern"),
    ):
        report = Report(f"The real server by the TypeScript SDK, {client}")
        # A process of our server takes seconds to start: one way of each kind will do.
        ways: list[tuple[str, ...]] = [("http", server.mcp)]
        if client in ("v1", "v2-modern"):
            ways.append(stdio)
        for way in ways:
            script = [str(HERE / "typescript.mjs"), client, *way]
            done = _run(node, script, server.workdir)
            if done.returncode != 0:
                report.failures.append(f"over {way[0]}: {done.stderr[-2000:]}")
                continue
            for what, holds in _expected(json.loads(done.stdout), era).items():
                report.check(holds, f"over {way[0]}: {what}")
        yield report


def _expected(seen: dict[str, Any], era: str) -> dict[str, bool]:
    """What a client's report has to hold, and whether it does."""
    created = seen["created"].get("structuredContent", {})
    listed = seen["listed"].get("structuredContent", {}).get("records", [])
    codes = {
        name: seen[name].get("structuredContent", {}).get("error", {}).get("code")
        for name in ("missing", "wrong")
    }
    return {
        "the era": seen["era"] == era,
        # The first version of the SDK does not tell it over stdio.
        "its revision": seen.get("protocol", _REVISIONS[era]) == _REVISIONS[era],
        "the server's name": seen["server"] == "kailash-mcp-prod",
        "all tools": {"Company_create", "Quote_bulk_upsert"} <= set(seen["tools"]),
        "a result schema for each tool": seen["outputSchemas"] == len(seen["tools"]),
        "the created record": created.get("name") == _NAME and bool(created.get("id")),
        "the same record, read": seen["read"].get("structuredContent") == created,
        "the same record in a list": created in listed,
        "a missing record is a failed call": codes["missing"] == "not_found",
        "an unknown argument is a failed call": codes["wrong"] == "invalid_arguments",
        "an unknown tool is a protocol error": seen["unknown"].get("code") == -32602,
        "each listed resource can be read": "thrown" not in (seen.get("resource") or {}),
    }

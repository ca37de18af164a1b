"""The MCP Inspector and the TypeScript SDK, both versions of it, against our servers.

The real server is called as its users do; what its tools do not do yet, such as asking the client
for something, is tried with the fixtures of the suite.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from tests.conformance.node import HERE, MODULES
from tests.conformance.report import Report
from tests.e2e.servers import COMMAND, DEVELOPMENT, STDIO, HttpServer, environment, serving

_INSPECTOR = MODULES / "@modelcontextprotocol" / "inspector" / "clients/launcher/build/index.js"
_SECONDS = 60
_TOOL_FAILED = 5
_SMALL_SURFACES = ("compact", "search")
_NAME = "Nordlicht GmbH"
_GOOD = {"data": {"name": _NAME, "city": "Kiel"}}
_REVISIONS = {"legacy": "2025-11-25", "modern": "2026-07-28"}
_CLIENTS = {"v1": "legacy", "v2-legacy": "legacy", "v2-auto": "modern", "v2-modern": "modern"}
_BAD = {"data": {"nam": _NAME}}
# Output schemas let the clients check each result against the tool's own promise.
_SETTINGS = {"MCP_LIST_OUTPUT_SCHEMAS": "true"}

Outcome = subprocess.CompletedProcess[str]


def judge_with_clients(node: Path, fixture_url: str) -> Iterator[Report]:
    """One report for each client; the real servers run in a folder and on a database of their own.

    Args:
        node: Runs the clients.
        fixture_url: Where the fixture server is.
    """
    yield _features(node, fixture_url)
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
        # It passes on only a part of its own environment. This one lists tools as they are by
        # default, without their result schemas.
        "env": {**environment(), "HOME": str(home)},
    }
    small = {name: {**http, "url": f"{server.mcp}/{name}"} for name in _SMALL_SURFACES}
    config.write_text(json.dumps({"mcpServers": {"http": http, "stdio": stdio, **small}}))

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
            # Each of its calls starts a server.
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
    for name in _SMALL_SURFACES:
        tools = inspect(name, "legacy", "tools/list", "--strict")
        report.check(tools.returncode == 0, f"tools/list --strict of {name}: {tools.stderr[-500:]}")
    return report


def _typescript(node: Path, server: HttpServer) -> Iterator[Report]:
    stdio = ("stdio", *COMMAND, "serve", *STDIO)
    for client, era in _CLIENTS.items():
        report = Report(f"The real server by the TypeScript SDK, {client}")
        # A process of our server takes seconds to start: one client of each version will do.
        ways: list[tuple[str, ...]] = [("http", server.mcp)]
        if client in ("v1", "v2-modern"):
            ways.append(stdio)
        for way in ways:
            script = [str(HERE / "typescript.mjs"), client, *way]
            done = _run(node, script, server.workdir)
            _compare(report, f"over {way[0]}", done, partial(_expected, era=era))
        yield report


def _features(node: Path, url: str) -> Report:
    report = Report("The fixture server by the TypeScript SDK, both versions in both eras")
    for client, era in _CLIENTS.items():
        script = [str(HERE / "features.mjs"), client, "http", url]
        done = _run(node, script, HERE)
        _compare(report, f"by {client}", done, partial(_expected_features, era=era))
    return report


def _compare(
    report: Report,
    how: str,
    done: Outcome,
    expected: Callable[[dict[str, Any]], dict[str, bool]],
) -> None:
    if done.returncode != 0:
        report.failures.append(f"{how}: {done.stderr[-2000:]}")
        return
    for what, holds in expected(json.loads(done.stdout)).items():
        report.check(holds, f"{how}: {what}")


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
        "each listed resource can be read": seen["unreadable"] == [],
    }


def _expected_features(seen: dict[str, Any], era: str) -> dict[str, bool]:
    everything = {"elicitation/create", "sampling/createMessage", "roots/list"}
    return {
        "the era": seen["era"] == era,
        "progress, in its order, before the result": seen["steps"] == [0, 50, 100],
        "log messages of the wanted level": len(seen["logs"]) == 3,
        "an answered form": seen["elicited"] == "Hello, Ada!",
        "two forms, one after the other": seen["rounds"].count("accept") == 2,
        "an answer of the client's model": "Paris" in seen["sampled"],
        "three questions of three kinds at once": set(seen["asked"]) == everything
        and "file:///srv/data" in seen["several"],
        "a prompt that asks": "Ada" in json.dumps(seen["prompt"]),
        "an answer after the stream was let go": "successfully" in seen["reconnected"],
        "completion": seen["completed"]["completion"]["values"] == ["park", "party"],
        "a missing resource is an error": seen["missing"].get("code") in (-32602, -32002),
        "news of the list of tools": seen["changed"] is True,
        "news of a watched resource": seen["updated"] == "test://watched-resource",
        "a call that the client gives up": "tired" in seen["given_up"],
    }

"""What the clients share: their command line, their input and their report.

It needs the standard library alone, because it runs in the environments of the peers.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]


@dataclass(frozen=True)
class Target:
    """The server a client is to connect to.

    Attributes:
        transport: `stdio`, `http` or `websocket`.
        address: The command and its arguments, or the URL alone.
        headers: Sent with each HTTP request.
        era: The negotiation asked for: `auto`, `legacy` or `modern`.
    """

    transport: str
    address: tuple[str, ...]
    headers: dict[str, str]
    era: str


def parse_target(eras: tuple[str, ...]) -> Target:
    """Read the command line: `stdio -- COMMAND ARG…`, `http URL` or `websocket URL`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("transport", choices=["stdio", "http", "websocket"])
    parser.add_argument("--era", choices=eras, default=eras[0])
    parser.add_argument("--header", action="append", default=[], metavar="NAME: VALUE")
    parser.add_argument("address", nargs="+", metavar="URL | -- COMMAND ARG…")
    options = parser.parse_args()
    if options.transport != "stdio" and len(options.address) != 1:
        parser.error(f"{options.transport} takes one URL")
    headers = dict(header.split(": ", 1) for header in options.header)
    return Target(options.transport, tuple(options.address), headers, options.era)


async def run_calls(call: Callable[[str, dict[str, Any]], Awaitable[Result]]) -> list[Result]:
    """Make the calls that standard input names, one after the other, and return their results.

    The input is JSON, `[["tool", {arguments}], …]`. Anywhere in the arguments,
    `{"$ref": [0, "id"]}` stands for the value at `id` in the structured result of the first call;
    further keys and positions reach deeper.
    """
    results: list[Result] = []
    for tool, arguments in json.load(sys.stdin):
        results.append(await call(tool, _resolved(arguments, results)))
    return results


def report(document: dict[str, Any]) -> None:
    """Print the one JSON document a client leaves."""
    json.dump(document, sys.stdout)


def _resolved(value: Any, results: list[Result]) -> Any:
    if isinstance(value, list):
        return [_resolved(item, results) for item in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"$ref"}:
        index, *path = value["$ref"]
        found = results[index]["structured"]
        for step in path:
            found = found[step]
        return found
    return {key: _resolved(item, results) for key, item in value.items()}

"""What a shell completes: values and names that are known without asking anybody."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from enum import Enum
from itertools import product
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import StartupError

Completer = Callable[[str], list[str]]


def completer_of(key: str) -> Completer | None:
    """What completes the values of a setting, if there are only a few."""
    values = list(dict.fromkeys(_values(ServerConfig.model_fields[key].annotation)))
    return among(values) if values else None


def among(values: list[str]) -> Completer:
    """What completes one of some values; of several with commas, the last one."""

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",")
        return [f"{before}{comma}{value}" for value in values if value.startswith(last)]

    return complete


def tool_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The record tools that a start over stdio has noted; none of a server behind --url."""
    if ctx.params.get("url"):
        return []
    return [name for name in _noted(ctx) if name.startswith(incomplete)]


def model_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """The models of those tools."""
    names = {name.removesuffix("_read") for name in _noted(ctx) if name.endswith("_read")}
    return sorted(name for name in names if name.startswith(incomplete))


def _noted(ctx: typer.Context) -> list[str]:
    """What the manifest of the application has; a shell shows no errors, so none is one."""
    from kailash_mcp_prod.tools.manifests import Manifests

    given = {"models": ctx.params.get("models"), "database_url": ctx.params.get("database_url")}
    flags: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    flags |= {"enable_auth": False, "transport": "stdio"}
    # With sample rows or without, and started as a script or, as commands and clients do, with -m.
    for mode, first in product(("standalone", "development"), (str(Path.cwd()), sys.path[0])):
        with suppress(StartupError, OSError), _path_beginning_with(first):
            config = ServerConfig.load({**flags, "mode": mode}, ctx.params.get("config"))
            if names := asyncio.run(Manifests(config).noted_tools()):
                return names
    return []


@contextmanager
def _path_beginning_with(first: str) -> Iterator[None]:
    """A manifest is of one path of modules, which begins with where Python was started."""
    before = sys.path[0]
    sys.path[0] = first
    try:
        yield
    finally:
        sys.path[0] = before


def _values(kind: Any) -> Iterator[str]:
    if get_origin(kind) is Literal:
        yield from (str(each) for each in get_args(kind))
    elif isinstance(kind, type) and issubclass(kind, Enum):
        yield from (str(each.value) for each in kind)
    elif get_origin(kind) is not dict:
        for each in get_args(kind):
            yield from _values(each)

"""What a manifest holds, and whether it still holds."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import sqlite3
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from kailash_mcp_prod._version import __version__
from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.manifest.entries import Entry, ModelEntry
from kailash_mcp_prod.manifest.sources import Sources, digest_of
from kailash_mcp_prod.records.columns import Table, reflect_tables
from kailash_mcp_prod.records.connecting import (
    connected_to_postgresql,
    is_postgresql,
    sqlite_path,
)
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.operations import Operation

FORMAT: Final = 2
"""Counts the versions of the form below."""


class ListingEntry(Entry, frozen=True):
    """What tool lists say of a tool when they are to be short."""

    description: str
    input_schema: dict[str, Any]


class ToolEntry(Entry, frozen=True):
    """What clients are told of a record tool."""

    operation: Operation
    name: str
    title: str
    description: str
    input_schema: dict[str, Any]
    output_schema: dict[str, Any]
    hints: dict[str, bool]
    permissions: tuple[str, ...]
    group: str
    listed: bool = True
    listing: ListingEntry | None = None


class ServedModel(Entry, frozen=True):
    """A model, its table, how its records are reached, and its tools.

    `sampled` says that the application has sample rows for it, which an empty table would get.
    """

    model: ModelEntry
    table: Table
    execution: Execution
    tools: tuple[ToolEntry, ...]
    sampled: bool = False


class Manifest(Entry, frozen=True):
    """All that was found out at a start. `sqlite_url` is the application's own address, if any."""

    format: Literal[2]
    identity: str
    sources: Sources
    models: tuple[ServedModel, ...]
    sqlite_url: str | None = None


def identity_of(target: str, database_url: str | None, settings: Mapping[str, Any]) -> str:
    """Names the manifest of an application with these settings, run here by this interpreter.

    Args:
        target: Such as `models:db`.
        database_url: The address that the configuration names; its password doesn't count.
        settings: What else the content depends on, as JSON values.

    Raises:
        OSError: The working directory is gone.
    """
    state = [
        FORMAT,
        __version__,
        sys.version,
        sqlite3.sqlite_version,
        str(Path.cwd()),
        sys.path,
        target,
        None if database_url is None else without_password(database_url),
        settings,
    ]
    return hashlib.sha256(json.dumps(state).encode()).hexdigest()[:32]


def without_password(url: str) -> str:
    """An address without its password and its parameters, which may hold one."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{parts.username or ''}@{host}{parts.path}"


def sources_changed(manifest: Manifest, environment: Mapping[str, str]) -> bool:
    """Whether a file, an installed package or a variable is no longer what it was."""
    sources = manifest.sources
    try:
        return digest_of(sources.files, sources.variables, environment) != sources.digest
    except OSError:
        return True


async def database_changed(manifest: Manifest, url: str) -> bool:
    """Whether a table is no longer what it was, or one that gets sample rows is empty."""
    try:
        found = await reflect_tables(url, [each.table.name for each in manifest.models])
    except DatabaseStartupError:
        # The start proper says what is wrong, or waits.
        return True
    if any(found.get(each.table.name) != each.table for each in manifest.models):
        return True
    sampled = [each.model for each in manifest.models if each.sampled]
    return bool(sampled) and await _any_empty(url, sampled)


async def _any_empty(url: str, models: Sequence[ModelEntry]) -> bool:
    conditions = []
    for model in models:
        living = " WHERE deleted_at IS NULL" if model.soft_delete else ""
        # The names of tables are checked at introspection.
        conditions.append(f'EXISTS (SELECT 1 FROM "{model.table}"{living})')  # noqa: S608
    statement = f"SELECT {' AND '.join(conditions)}"
    if is_postgresql(url):
        try:
            async with connected_to_postgresql(url) as connection:
                return not await connection.fetchval(statement)
        except DatabaseStartupError:
            return True
    return await asyncio.to_thread(_fails_on_sqlite, sqlite_path(url), statement)


def _fails_on_sqlite(path: Path, condition: str) -> bool:
    address = f"file:{quote(os.fspath(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as database:
            [held] = database.execute(condition).fetchone()
    except sqlite3.Error:
        return True
    return not held

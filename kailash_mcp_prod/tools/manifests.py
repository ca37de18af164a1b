"""Reads and writes the manifest of an application, as its configuration allows."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass

import msgspec

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.manifest.content import (
    FORMAT,
    ListingEntry,
    Manifest,
    ServedModel,
    ToolEntry,
    database_changed,
    identity_of,
    sources_changed,
)
from kailash_mcp_prod.manifest.entries import NotStorableError, entry_of
from kailash_mcp_prod.manifest.file import ManifestFile
from kailash_mcp_prod.manifest.sources import sources_of
from kailash_mcp_prod.models_loader import absolute_sqlite_url
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.records.columns import Table
from kailash_mcp_prod.records.execution import Execution
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.records.operations import Operation
from kailash_mcp_prod.tools.instant import tool_of
from kailash_mcp_prod.tools.spec import ToolSpec

log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Served:
    """A model as a start has found and served it."""

    model: Model
    table: Table
    execution: Execution
    tools: list[ToolSpec]


class Manifests:
    """The manifest of one application. Made before the application is imported.

    Args:
        config: Says which application, which database, and what else the tools depend on.
    """

    def __init__(self, config: ServerConfig) -> None:
        self._config = config
        self._url = config.database_url and absolute_sqlite_url(config.database_url)
        # The import of an application may set variables, such as those of a file `.env`.
        self._environment = dict(os.environ)
        settings = {
            "operations": config.operations,
            "execution": config.execution,
            "auto_migrate": config.auto_migrate,
            "development": config.mode == "development",
        }
        self._identity = identity_of(config.models, self._url, settings)
        self._file = ManifestFile(self._identity)

    async def read(self) -> tuple[Manifest, str] | None:
        """The manifest, if it still holds, and the address of its database."""
        manifest = await asyncio.to_thread(self._read)
        if manifest is None:
            return None
        url = self._url or manifest.sqlite_url
        if url is None or await database_changed(manifest, url):
            log.info("manifest_stale", changed="database")
            return None
        return manifest, url

    async def noted_tools(self) -> list[str]:
        """The names of the tools in the manifest, whether it still holds or not."""
        manifest = await asyncio.to_thread(self._file.read, Manifest)
        if manifest is None:
            return []
        return [tool.name for model in manifest.models for tool in model.tools if tool.listed]

    async def write(
        self, served: Iterable[Served], sampled: Collection[str], database_url: str
    ) -> None:
        """Writes the manifest of what is served, unless it can't be written down faithfully.

        Args:
            served: The models, in their order.
            sampled: The models for which there are sample rows.
            database_url: The address that the application uses.
        """
        try:
            await asyncio.to_thread(self._write, list(served), sampled, database_url)
        except NotStorableError as reason:
            log.info("no_manifest", reason=f"{reason}.")
            await self.remove()

    async def remove(self) -> None:
        """Removes the manifest: the application is more than a file can hold."""
        await asyncio.to_thread(self._file.remove)

    def _read(self) -> Manifest | None:
        manifest = self._file.read(Manifest)
        if manifest is None:
            return None
        if manifest.identity != self._identity or sources_changed(manifest, self._environment):
            log.info("manifest_stale", changed="sources")
            return None
        return manifest

    def _write(self, served: list[Served], sampled: Collection[str], database_url: str) -> None:
        own_url = None
        if self._url is None:
            # Any other address may hold a password.
            if not database_url.startswith("sqlite:///") or "?" in database_url:
                raise NotStorableError("the address of the database is not in the configuration")
            own_url = database_url
        try:
            self._file.write(self._manifest(served, sampled, own_url))
        except (msgspec.MsgspecError, ValueError, TypeError) as problem:
            # UnicodeError is a ValueError: a path may hold bytes that are no text.
            raise NotStorableError(f"JSON has no form for it ({type(problem).__name__})") from None

    def _manifest(
        self, served: list[Served], sampled: Collection[str], own_url: str | None
    ) -> Manifest:
        return Manifest(
            format=FORMAT,
            identity=self._identity,
            sources=sources_of(self._config.models, self._environment),
            models=tuple(self._served(each, each.model.name in sampled) for each in served),
            sqlite_url=own_url,
        )

    def _served(self, served: Served, sampled: bool) -> ServedModel:
        model = served.model
        if served.execution.store != "sql":
            raise NotStorableError(f"{model.name} is reached through DataFlow")
        return ServedModel(
            model=entry_of(model),
            table=served.table,
            execution=served.execution,
            tools=tuple(map(_entry_of, served.tools)),
            sampled=sampled,
        )


def _entry_of(tool: ToolSpec) -> ToolEntry:
    if tool.operation is None:
        raise NotStorableError(f"{tool.name} is no record tool")
    listing = tool.listing
    entry = ToolEntry(
        operation=Operation(tool.operation),
        name=tool.name,
        title=tool.title,
        description=tool.description,
        input_schema=dict(tool.input_schema),
        output_schema=dict(tool.output_schema),
        hints=asdict(tool.hints),
        permissions=tool.permissions,
        group=tool.group,
        listed=tool.listed,
        listing=(
            None
            if listing is None
            else ListingEntry(listing.description, dict(listing.input_schema))
        ),
    )
    encoded = msgspec.json.encode(entry)
    again = msgspec.json.decode(encoded, type=ToolEntry)
    # The texts too, because lists have to be the same to the byte.
    if msgspec.json.encode(again) != encoded or tool_of(again, tool.handler) != tool:
        raise NotStorableError(f"{tool.name} would not be the same when read back")
    return entry

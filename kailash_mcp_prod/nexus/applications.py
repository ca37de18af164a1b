"""An application without models, for servers of workflows alone."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Final

from kailash_mcp_prod.errors import DatabaseStartupError, StartupError
from kailash_mcp_prod.manifest.content import Manifest
from kailash_mcp_prod.manifest.sources import Sources
from kailash_mcp_prod.models_loader import absolute_sqlite_url
from kailash_mcp_prod.records.connecting import is_postgresql, sqlite_path
from kailash_mcp_prod.tools.application import DataFlowApplication
from kailash_mcp_prod.tools.instant import InstantModels
from kailash_mcp_prod.tools.pools import pool_settings

DEFAULT_DATABASE: Final = "sqlite:///kailash_mcp_nexus.db"
"""Where sessions and workspaces are kept if nobody has said where."""

_ASK_SECONDS: Final = 0.5


class WithoutModels(DataFlowApplication):
    """Keeps the database of the state, and has no records.

    What it takes the place of can serve a manifest without importing DataFlow; this one is empty.
    """

    async def start(self) -> None:
        """Opens the database.

        Raises:
            DatabaseStartupError: It does not answer.
        """
        self._pulse.forget()
        url = self._url = self._url or absolute_sqlite_url(DEFAULT_DATABASE)
        if not is_postgresql(url):
            await asyncio.to_thread(_make_file, sqlite_path(url))
        nothing = Manifest(format=2, identity="", sources=Sources((), (), ""), models=())
        self._instant = InstantModels(
            nothing,
            url,
            pool_settings(self._config),
            self._cursors,
            self._scopes,
            make_keyed=lambda: self._keyed_writes(url),
        )
        if not await self._answers_in_time():
            raise DatabaseStartupError(
                "The database of the sessions can't be opened. Check DATABASE_URL and that the "
                "database is up."
            )

    async def _answers_in_time(self) -> bool:
        until = time.monotonic() + self._config.wait_for_db
        while not await self._pulse.answers(anew=True):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_ASK_SECONDS)
        return True

    async def register(self, _model_class: type) -> None:
        """There are no models.

        Raises:
            StartupError: Always.
        """
        raise StartupError("Give enhance_nexus_with_mcp the models to serve any.")

    async def describe(self) -> None:
        """There is nothing to describe."""


def _make_file(path: Path) -> None:
    """SQLite itself is told to open what is there, as where an application has made it."""
    try:
        path.touch(mode=0o600)
    except OSError as failure:
        raise DatabaseStartupError(
            f"The file {path} for sessions can't be made: {failure.strerror}. Set DATABASE_URL."
        ) from None

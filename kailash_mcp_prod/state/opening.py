"""Opens the state when it is first needed; until then nothing of it is even imported."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from kailash_mcp_prod.errors import UnavailableError

if TYPE_CHECKING:
    from kailash_mcp_prod.state.database import StateDatabase

_CONNECTIONS = 4


class State:
    """The state of one server.

    Args:
        url: Where it is, asked when it is opened; `None` while that is not known.
    """

    def __init__(self, url: Callable[[], str | None]) -> None:
        self._url = url
        self._opening = asyncio.Lock()
        self._database: StateDatabase | None = None

    async def database(self) -> StateDatabase:
        """The database of the state.

        Raises:
            UnavailableError: The server does not know it yet.
        """
        async with self._opening:
            if self._database is None:
                url = self._url()
                if url is None:
                    message = "The server is still starting. Try again."
                    raise UnavailableError(message, retry_after_seconds=1)
                # In a thread, because SQLAlchemy takes a while to import.
                module = await asyncio.to_thread(
                    importlib.import_module, "kailash_mcp_prod.state.database"
                )
                self._database = module.StateDatabase(url, connections=_CONNECTIONS)
            return self._database

    async def close(self) -> None:
        """Closes what was opened; the state can be opened again."""
        database, self._database = self._database, None
        if database is not None:
            await database.close()
        self._opening = asyncio.Lock()

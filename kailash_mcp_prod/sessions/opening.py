"""Opens the stores of this room when they are first needed, SQLAlchemy included."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Callable
from typing import Generic, TypeVar

from kailash_mcp_prod.errors import DatabaseStartupError, UnservedError
from kailash_mcp_prod.observe.logs import get_logger
from kailash_mcp_prod.state.opening import State

log = get_logger(__name__)

S = TypeVar("S")


class Opened(Generic[S]):
    """A store of the state, made when it is first asked for.

    Args:
        state: The state.
        module: Where the store's tables and its class are; they need SQLAlchemy.
        make: Makes the store from that module and the database.
        may_create: Whether missing tables may be made.

    `module` names its tables in `TABLES`.
    """

    def __init__(
        self,
        state: State,
        module: str,
        make: Callable[..., S],
        *,
        may_create: bool,
    ) -> None:
        self._state = state
        self._module = module
        self._make = make
        self._may_create = may_create
        self._opening = asyncio.Lock()
        self._store: S | None = None

    async def get(self) -> S:
        """The store, its tables there.

        Raises:
            UnavailableError: The database does not answer, or the tables are missing and can't or
                may not be made; the log has the reason.
        """
        if self._store is not None:
            return self._store
        async with self._opening:
            if self._store is None:
                database = await self._state.database()
                module = await asyncio.to_thread(importlib.import_module, self._module)
                try:
                    await database.prepare(module.TABLES, create=self._may_create)
                except DatabaseStartupError as refusal:
                    log.warning("agents_not_served", reason=str(refusal))
                    raise UnservedError(
                        "The server's database is not prepared for this. Report the request id to "
                        "its operator.",
                        retry_after_seconds=60,
                    ) from None
                self._store = self._make(module, database)
        return self._store

    @property
    def if_open(self) -> S | None:
        """The store, if it was needed by now."""
        return self._store

    def close(self) -> None:
        """Forgets the store, because the database is about to be closed."""
        self._store = None
        self._opening = asyncio.Lock()

"""What writes with a key have answered: kept in the very transaction that stores their change.

So a crash can't part the two, and of several calls with one key the database lets one through:
the others wait for its end, and then find its receipt or take its place.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from kailash_mcp_prod.errors import (
    DatabaseStartupError,
    ServerError,
    UnavailableError,
    UnservedError,
)
from kailash_mcp_prod.records.columns import reflect_tables
from kailash_mcp_prod.records.connecting import (
    connected_to_postgresql,
    is_postgresql,
    sqlite_path,
)
from kailash_mcp_prod.records.migration_lock import migration_lock
from kailash_mcp_prod.records.store import RecordStore, Transaction

logger = logging.getLogger(__name__)

TABLE: Final = "mcp_idempotency"

_BUSY_SECONDS: Final = 30.0
_TIDY_EACH: Final = 200
_TIDY_SECONDS: Final = 60.0
_TIDY_ROWS: Final = 500

_MAKE: Final = f"""
CREATE TABLE IF NOT EXISTS {TABLE} (
    id TEXT PRIMARY KEY, digest TEXT NOT NULL, result %(bytes)s, expires_at %(float)s NOT NULL
);
CREATE INDEX IF NOT EXISTS {TABLE}_expires_at ON {TABLE} (expires_at);
"""
_MAKE_POSTGRESQL: Final = _MAKE % {"bytes": "BYTEA", "float": "DOUBLE PRECISION"}
_MAKE_SQLITE: Final = _MAKE % {"bytes": "BLOB", "float": "REAL"}

# What has expired is as if it were not there.
_CLAIM: Final = f"""
INSERT INTO {TABLE} (id, digest, expires_at) VALUES ($1, $2, $3)
ON CONFLICT (id) DO UPDATE
SET digest = excluded.digest, result = NULL, expires_at = excluded.expires_at
WHERE {TABLE}.expires_at <= $4
RETURNING id
"""  # noqa: S608 - put together from constants, like those below
_FIND: Final = f"SELECT digest, result FROM {TABLE} WHERE id = $1"  # noqa: S608
_KEEP: Final = f"UPDATE {TABLE} SET result = $2 WHERE id = $1"  # noqa: S608
_EXPIRED: Final = f"SELECT id FROM {TABLE} WHERE expires_at <= $1 LIMIT {_TIDY_ROWS}"  # noqa: S608
_TIDY: Final = f"DELETE FROM {TABLE} WHERE id IN ({_EXPIRED}%s)"  # noqa: S608
_NOT_KEPT: Final = (
    "Idempotency keys can't be kept at present; the log says why. Nothing was changed. Try again, "
    "or call without a key."
)
_LATER_SECONDS: Final = 60.0


class _TableMissingError(DatabaseStartupError):
    """The table is not there, and may not be made."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an earlier call with the same key was, and what it answered if that was kept."""

    digest: str
    result: bytes | None


class Receipts:
    """The receipts in one database.

    Args:
        url: Its address, as DataFlow takes it.
        may_create: Whether the table may be made when it is first needed.
        ttl_seconds: How long a receipt holds.
        clock: The time of day, in seconds.

    Example:
        ```python
        async with store.transaction() as transaction:
            receipt = await receipts.claim(transaction, name, digest)
            if receipt is None:
                await receipts.keep(transaction, name, await change(transaction))
        ```
    """

    def __init__(
        self,
        url: str,
        *,
        may_create: bool,
        ttl_seconds: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._url = url
        self._may_create = may_create
        self._ttl_seconds = ttl_seconds
        self._clock = clock
        self._is_ready = False
        self._making = asyncio.Lock()
        self._claims_since = 0
        self._tidied_at = time.monotonic()
        on_postgresql = is_postgresql(url)
        self._claim, self._find, self._keep = (
            each if on_postgresql else each.replace("$", "?") for each in (_CLAIM, _FIND, _KEEP)
        )
        # Two replicas that tidy at once must not wait for each other.
        self._tidy = _TIDY % " FOR UPDATE SKIP LOCKED" if on_postgresql else _TIDY % ""
        if not on_postgresql:
            self._tidy = self._tidy.replace("$", "?")

    async def make_ready(self) -> None:
        """Makes the table, if it is not there; before the first transaction, not in one.

        Raises:
            UnavailableError: It is not there and can't be made.
        """
        if self._is_ready:
            return
        async with self._making:
            if self._is_ready:
                return
            try:
                if TABLE not in await reflect_tables(self._url, [TABLE]):
                    await self._make()
            except _TableMissingError as failure:
                logger.warning("Idempotency keys can't be kept: %s", failure)
                # Not the database's failure: whoever sends keys must not close it to the others.
                raise UnservedError(_NOT_KEPT, retry_after_seconds=_LATER_SECONDS) from failure
            except DatabaseStartupError as failure:
                logger.warning("Idempotency keys can't be kept: %s", failure)
                raise UnavailableError(_NOT_KEPT, retry_after_seconds=1) from failure
            self._is_ready = True

    async def claim(self, transaction: Transaction, name: str, digest: str) -> Receipt | None:
        """The receipt of that name, or `None`: then it is the transaction's own to keep.

        Waits while another transaction has it.

        Args:
            transaction: What the receipt is stored with.
            name: Of the receipt.
            digest: What the call is, to be found by those that come later.
        """
        now = self._clock()
        claimed = await transaction.statement(
            self._claim, (name, digest, now + self._ttl_seconds, now)
        )
        self._claims_since += 1
        if claimed:
            return None
        [(its_digest, result)] = await transaction.statement(self._find, (name,))
        return Receipt(its_digest, None if result is None else bytes(result))

    async def keep(self, transaction: Transaction, name: str, result: bytes) -> None:
        """Keeps the result of a call that has claimed the name."""
        await transaction.statement(self._keep, (name, result))

    async def tidy(self, store: RecordStore) -> None:
        """Removes some of what has expired, now and then: more than has come since."""
        now = time.monotonic()
        if self._claims_since < _TIDY_EACH and now - self._tidied_at < _TIDY_SECONDS:
            return
        self._claims_since, self._tidied_at = 0, now
        try:
            async with store.transaction() as transaction:
                await transaction.statement(self._tidy, (self._clock(),))
        except ServerError as failure:
            logger.warning("Expired idempotency keys could not be removed: %s", failure.code)

    async def _make(self) -> None:
        if not self._may_create:
            raise _TableMissingError(
                f"The database lacks the table {TABLE}. Use a key once with auto_migrate on."
            )
        async with migration_lock(self._url):
            if is_postgresql(self._url):
                async with connected_to_postgresql(self._url) as connection:
                    await connection.execute(_MAKE_POSTGRESQL)
            else:
                await asyncio.to_thread(_make_in_sqlite, self._url)


def _make_in_sqlite(url: str) -> None:
    try:
        with closing(sqlite3.connect(sqlite_path(url), timeout=_BUSY_SECONDS)) as database:
            database.executescript(_MAKE_SQLITE)
    except sqlite3.Error as failure:
        raise DatabaseStartupError(f"The SQLite database refuses a table: {failure}.") from failure

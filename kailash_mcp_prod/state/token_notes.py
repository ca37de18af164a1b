"""What is noted of tokens that the command line mints; they themselves are kept nowhere."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import RowMapping, Select, delete, select
from sqlalchemy.exc import ProgrammingError

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.tables import (
    KEPT_AFTER_EXPIRY_SECONDS,
    TOKEN_NOTE_TABLES,
    minted_tokens,
    revoked_tokens,
)

TokenState = Literal["active", "expired", "revoked"]


@dataclass(frozen=True, slots=True)
class TokenNote:
    """A token that was minted: its id, whom it is for and what it grants. Times are Unix seconds.

    `revoked_at` is looked up, not noted.
    """

    jti: str
    subject: str
    created_at: float
    expires_at: float
    permissions: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()
    tenant_id: str | None = None
    read_only: bool = False
    label: str | None = None
    revoked_at: float | None = None

    def state_at(self, now: float) -> TokenState:
        """Whether the token is good at that time."""
        if self.revoked_at is not None:
            return "revoked"
        return "expired" if self.expires_at <= now else "active"


class TokenNotes:
    """The notes in one database. A table that is not there counts as empty.

    Args:
        database: The state.
        clock: Unix seconds.

    Every method raises `UnavailableError` when the database does not answer.
    """

    def __init__(self, database: StateDatabase, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add(self, note: TokenNote) -> None:
        """Keeps a note, and forgets those of tokens that have been over for a day.

        Raises:
            DatabaseStartupError: The table can't be made, or must not be written.
        """
        await self._database.prepare(TOKEN_NOTE_TABLES)
        over = minted_tokens.c.expires_at < self._clock() - KEPT_AFTER_EXPIRY_SECONDS
        insert = minted_tokens.insert().values(
            jti=note.jti,
            subject=_storable(note.subject),
            created_at=note.created_at,
            expires_at=note.expires_at,
            permissions=json.dumps(note.permissions),
            roles=json.dumps(note.roles),
            tenant_id=_storable(note.tenant_id),
            read_only=note.read_only,
            label=_storable(note.label),
        )
        try:
            async with self._database.begin() as connection:
                await connection.execute(delete(minted_tokens).where(over))
                await connection.execute(insert)
        except ProgrammingError:
            raise DatabaseStartupError(
                f"The database's user may not write the table {minted_tokens.name}."
            ) from None

    async def get(self, jti: str) -> TokenNote | None:
        """The note of a token, if there is one."""
        found = await self._found(_NOTES.where(minted_tokens.c.jti == jti))
        return found[0] if found else None

    async def newest(self, limit: int, *, expired: bool = False) -> list[TokenNote]:
        """The notes, the newest first.

        Args:
            limit: How many at most.
            expired: Whether those of expired tokens are among them, as far as they are kept.
        """
        statement = _NOTES.order_by(minted_tokens.c.created_at.desc(), minted_tokens.c.jti)
        if not expired:
            statement = statement.where(minted_tokens.c.expires_at > self._clock())
        return await self._found(statement.limit(limit))

    async def _found(self, statement: Select[Any]) -> list[TokenNote]:
        if not await self._database.has(TOKEN_NOTE_TABLES):
            return []
        async with self._database.read() as connection:
            return [_note_of(row) for row in (await connection.execute(statement)).mappings()]


_NOTES: Select[Any] = select(minted_tokens, revoked_tokens.c.revoked_at).select_from(
    minted_tokens.outerjoin(revoked_tokens, minted_tokens.c.jti == revoked_tokens.c.jti)
)


def _note_of(row: RowMapping) -> TokenNote:
    values: dict[str, Any] = {str(name): value for name, value in row.items()}
    for name in ("permissions", "roles"):
        values[name] = tuple(json.loads(values[name]))
    return TokenNote(**values)


def _storable(text: str | None) -> str | None:
    """Without what no database takes: a token may say more than is text."""
    return None if text is None else text.encode("utf-8", "replace").decode()

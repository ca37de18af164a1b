"""Keys and revocations in the state: what the commands change and the replicas follow."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from sqlalchemy import Insert, RowMapping, Table, delete, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from kailash_mcp_prod.errors import ConflictError, NotFoundError
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey
from kailash_mcp_prod.state.tables import (
    CREDENTIAL_TABLES,
    CREDENTIALS,
    KEPT_AFTER_EXPIRY_SECONDS,
    api_keys,
    revisions,
    revoked_tokens,
)

_COLUMNS = tuple(each.name for each in fields(StoredKey))
_NAMES = (api_keys.c.id, api_keys.c.agent_id, api_keys.c.label)
_AS_JSON = frozenset({"permissions", "roles", "claims"})


@dataclass(frozen=True, slots=True)
class Changes:
    """What has changed since a revision: keys as they are now, revoked tokens with their expiry."""

    revision: int
    keys: tuple[StoredKey, ...]
    tokens: Mapping[str, float | None]


def _nothing() -> None:
    pass


class CredentialStore:
    """The keys and revocations of one database. Tables that are not there count as empty.

    Args:
        database: The state.
        clock: Unix seconds.

    Every method raises `UnavailableError` when the database does not answer.
    """

    def __init__(self, database: StateDatabase, clock: Callable[[], float] = time.time) -> None:
        self.database = database
        self._clock = clock

    async def prepare(self, *, create: bool = True) -> None:
        """Makes the tables; see `StateDatabase.prepare`."""
        await self.database.prepare(CREDENTIAL_TABLES, create=create)

    async def changes(self, after: int | None) -> Changes:
        """What is not known to somebody who has seen a revision.

        Args:
            after: That revision; `None` for nothing seen, which gives all revoked tokens whose
                expiry has not come, and no keys.
        """
        if not await self.database.has(CREDENTIAL_TABLES):
            return Changes(0, (), {})
        async with self.database.read() as connection:
            # Read first: what is stored meanwhile has a higher number, and is given once more.
            found = await connection.scalar(
                select(revisions.c.revision).where(revisions.c.name == CREDENTIALS)
            )
            revision = found or 0
            if revision == after:
                return Changes(revision, (), {})
            tokens = select(revoked_tokens.c.jti, revoked_tokens.c.expires_at)
            if after is None or revision < after:
                lasting = or_(
                    revoked_tokens.c.expires_at.is_(None),
                    revoked_tokens.c.expires_at > self._clock() - KEPT_AFTER_EXPIRY_SECONDS,
                )
                rows = (await connection.execute(tokens.where(lasting))).all()
                return Changes(revision, (), {each.jti: each.expires_at for each in rows})
            rows = (await connection.execute(tokens.where(revoked_tokens.c.revision > after))).all()
            keys = await connection.execute(select(api_keys).where(api_keys.c.revision > after))
            changed = tuple(_key_of(each) for each in keys.mappings())
            return Changes(revision, changed, {each.jti: each.expires_at for each in rows})

    async def find(self, digest: str) -> StoredKey | None:
        """The key with a digest, whatever its state."""
        return await self._one(digest=digest)

    async def get(self, key_id: str) -> StoredKey:
        """The key with an id.

        Raises:
            NotFoundError: There is none.
        """
        found = await self._one(id=key_id)
        if found is None:
            raise _no_such_key(key_id)
        return found

    async def all(self) -> list[StoredKey]:
        """Every key, in the order in which they were minted."""
        if not await self.database.has(CREDENTIAL_TABLES):
            return []
        async with self.database.read() as connection:
            statement = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
            return [_key_of(each) for each in (await connection.execute(statement)).mappings()]

    async def named(self, name: str) -> list[StoredKey]:
        """The keys whose id, agent or label it is, whatever their state, the newest first."""
        if not await self.database.has(CREDENTIAL_TABLES):
            return []
        wanted = or_(*(column == name for column in _NAMES))
        async with self.database.read() as connection:
            statement = select(api_keys).where(wanted).order_by(api_keys.c.created_at.desc())
            return [_key_of(each) for each in (await connection.execute(statement)).mappings()]

    async def add(self, key: StoredKey, hand_out: Callable[[], None] = _nothing) -> None:
        """Keeps a new key.

        Args:
            key: It.
            hand_out: Shows its secret, at last before it is kept; what it raises keeps nothing.
        """
        async with self.database.begin() as connection:
            await _insert(connection, key, await _next_revision(connection))
            hand_out()

    async def rotate(
        self,
        key_id: str,
        successor: StoredKey,
        until: float,
        hand_out: Callable[[], None] = _nothing,
    ) -> StoredKey:
        """Keeps the key that takes another's place, and sets when the other one ends.

        Args:
            key_id: The other one.
            successor: The new key.
            until: When the other one expires, unless it does so before.
            hand_out: Shows the new key's secret; see `add`.

        Returns:
            The other one as it is now.

        Raises:
            NotFoundError: There is no such key.
            ConflictError: It is not good any more, or was rotated before.
        """
        async with self.database.begin() as connection:
            revision = await _next_revision(connection)
            key = await _locked(connection, key_id)
            state = key.state_at(self._clock())
            if state != "active":
                raise ConflictError(f"The key {key_id} is {state}. Mint a new one instead.")
            if key.replaced_by is not None:
                raise ConflictError(
                    f"The key {key_id} was rotated before, to {key.replaced_by}. Rotate that one."
                )
            ends = until if key.expires_at is None else min(until, key.expires_at)
            changed = replace(key, expires_at=ends, replaced_by=successor.id)
            await _insert(connection, successor, revision)
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id)
                .values(expires_at=ends, replaced_by=successor.id, revision=revision)
            )
            hand_out()
        return changed

    async def revoke(self, key_id: str) -> StoredKey:
        """Ends a key for good; one that was revoked before stays as it is.

        Raises:
            NotFoundError: There is no such key.
        """
        async with self.database.begin() as connection:
            revision = await _next_revision(connection)
            key = await _locked(connection, key_id)
            if key.revoked_at is not None:
                return key
            now = self._clock()
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.id == key_id)
                .values(revoked_at=now, revision=revision)
            )
        return replace(key, revoked_at=now)

    async def touch(self, key_ids: Collection[str], used_at: float, unless_since: float) -> None:
        """Notes when keys were used last, unless that was noted since a time."""
        seen = api_keys.c.last_used_at
        async with self.database.begin() as connection:
            await connection.execute(
                update(api_keys)
                .where(api_keys.c.id.in_(key_ids), or_(seen.is_(None), seen < unless_since))
                .values(last_used_at=used_at)
            )

    async def revoke_token(self, jti: str, expires_at: float | None) -> None:
        """Ends the token with a `jti`, or notes anew how long that has to be remembered.

        Args:
            jti: The token's id.
            expires_at: When the token ends by itself; `None` if that is not known.
        """
        now = self._clock()
        async with self.database.begin() as connection:
            over = revoked_tokens.c.expires_at < now - KEPT_AFTER_EXPIRY_SECONDS
            await connection.execute(delete(revoked_tokens).where(over))
            row = {"expires_at": expires_at, "revision": await _next_revision(connection)}
            insert = _insert_into(connection, revoked_tokens)
            await connection.execute(
                insert.values(jti=jti, revoked_at=now, **row).on_conflict_do_update(
                    index_elements=["jti"], set_=row
                )
            )

    async def token_revoked_at(self, jti: str) -> float | None:
        """When the token with a `jti` was revoked, if it was."""
        if not await self.database.has(CREDENTIAL_TABLES):
            return None
        async with self.database.read() as connection:
            found: float | None = await connection.scalar(
                select(revoked_tokens.c.revoked_at).where(revoked_tokens.c.jti == jti)
            )
            return found

    async def _one(self, **wanted: str) -> StoredKey | None:
        if not await self.database.has(CREDENTIAL_TABLES):
            return None
        async with self.database.read() as connection:
            rows = await connection.execute(select(api_keys).filter_by(**wanted))
            found = rows.mappings().one_or_none()
            return None if found is None else _key_of(found)


async def _next_revision(connection: AsyncConnection) -> int:
    """Takes the next number; who takes one waits for the end of who took the one before."""
    insert = _insert_into(connection, revisions).values(name=CREDENTIALS, revision=1)
    statement = insert.on_conflict_do_update(
        index_elements=["name"], set_={"revision": revisions.c.revision + 1}
    ).returning(revisions.c.revision)
    revision: int = (await connection.execute(statement)).scalar_one()
    return revision


async def _locked(connection: AsyncConnection, key_id: str) -> StoredKey:
    rows = await connection.execute(
        select(api_keys).where(api_keys.c.id == key_id).with_for_update()
    )
    found = rows.mappings().one_or_none()
    if found is None:
        raise _no_such_key(key_id)
    return _key_of(found)


async def _insert(connection: AsyncConnection, key: StoredKey, revision: int) -> None:
    row: dict[str, Any] = {name: getattr(key, name) for name in _COLUMNS}
    for name in _AS_JSON:
        value = row[name]
        row[name] = json.dumps(dict(value) if isinstance(value, Mapping) else list(value))
    await connection.execute(api_keys.insert().values(revision=revision, **row))


def _insert_into(connection: AsyncConnection, table: Table) -> Any:
    """An insertion that knows `ON CONFLICT`: both databases do, each in a dialect of its own."""
    make: Callable[[Table], Insert] = (
        postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    )
    return make(table)


def _key_of(row: RowMapping) -> StoredKey:
    values = {name: row[name] for name in _COLUMNS}
    for name in _AS_JSON:
        value = json.loads(values[name])
        values[name] = value if isinstance(value, dict) else tuple(value)
    return StoredKey(**values)


def _no_such_key(key_id: str) -> NotFoundError:
    return NotFoundError(
        f"There is no key {key_id[:64]}. List them with: kailash-mcp-prod key list"
    )

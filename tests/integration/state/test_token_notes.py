"""What is noted of minted tokens, and what is left of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from sqlalchemy import text

from kailash_mcp_prod.auth.api_keys import mint_key
from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey
from kailash_mcp_prod.state.tables import KEPT_AFTER_EXPIRY_SECONDS, minted_tokens
from kailash_mcp_prod.state.token_notes import TokenNote, TokenNotes

NOW = 1_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[StateDatabase]:
    database = StateDatabase(url)
    try:
        yield database
    finally:
        await database.close()


def note(jti: str, *, made: float = NOW, life: float = 100) -> TokenNote:
    return TokenNote(jti, "nightly", made, made + life, permissions=("*:read",))


async def test_a_note_comes_back_as_it_was_kept_and_knows_of_its_revocation(
    database_url: str,
) -> None:
    async with opened(database_url) as database:
        notes = TokenNotes(database, Clock())
        kept = TokenNote(
            *("a" * 32, "ß" * 2000, NOW + 0.5, NOW + 60),
            permissions=("*:read", "Company:write"),
            roles=("clerk",),
            tenant_id="n" * 300,
            read_only=True,
            label="CRM",
        )
        await notes.add(kept)
        await notes.add(replace(note("half"), subject="half a \ud83d character"))

        assert await notes.newest(9) == [kept, replace(note("half"), subject="half a ? character")]
        await CredentialStore(database, Clock()).revoke_token(kept.jti, kept.expires_at)
        found = await notes.get(kept.jti)
        assert found == replace(kept, revoked_at=NOW)
        assert found.state_at(NOW) == "revoked"
        assert await notes.get("another") is None


async def test_a_list_has_the_newest_first_and_what_is_over_only_when_asked(
    sqlite_url: str,
) -> None:
    clock = Clock()
    async with opened(sqlite_url) as database:
        notes = TokenNotes(database, clock)
        for jti, life in [("first", 100), ("second", 10), ("third", 100), ("fourth", 100)]:
            clock.now += 1
            await notes.add(note(jti, made=clock.now, life=life))
        clock.now += 20

        assert [each.jti for each in await notes.newest(2)] == ["fourth", "third"]
        assert [each.jti for each in await notes.newest(9)] == ["fourth", "third", "first"]
        over = (await notes.newest(3, expired=True))[2]
        assert (over.jti, over.state_at(clock.now)) == ("second", "expired")


async def test_what_expired_long_ago_is_forgotten_with_the_next_note(sqlite_url: str) -> None:
    clock = Clock()
    async with opened(sqlite_url) as database:
        notes = TokenNotes(database, clock)
        await notes.add(note("old", life=10))
        await notes.add(note("older", life=9))
        clock.now = NOW + 10 + KEPT_AFTER_EXPIRY_SECONDS
        await notes.add(note("new", made=clock.now))

        assert [each.jti for each in await notes.newest(9, expired=True)] == ["new", "old"]


async def test_without_tables_there_are_no_notes_and_nothing_is_made(sqlite_url: str) -> None:
    async with opened(sqlite_url) as database:
        assert await TokenNotes(database).newest(9, expired=True) == []
        assert await TokenNotes(database).get("x") is None
        assert not await database.has([minted_tokens])


async def test_a_database_from_before_the_notes_serves_and_gets_them_when_first_needed(
    sqlite_url: str,
) -> None:
    key = mint_key()
    stored = StoredKey(key.id, key.digest, key.id, NOW, permissions=("*",))
    async with opened(sqlite_url) as older:
        await CredentialStore(older).prepare()
        await CredentialStore(older).add(stored)
        assert await TokenNotes(older).newest(9) == []
    async with opened(sqlite_url) as one, opened(sqlite_url) as other:
        now = time.time()
        assert await CredentialStore(one).find(key.digest) == stored
        await asyncio.gather(
            TokenNotes(one).add(note("a", made=now)), TokenNotes(other).add(note("b", made=now))
        )

        assert [each.jti for each in await TokenNotes(one).newest(9)] == ["a", "b"]
        assert await CredentialStore(other).find(key.digest) == stored


async def test_a_user_who_may_not_write_is_told_so(postgres_url: str) -> None:
    async with opened(postgres_url) as database:
        await TokenNotes(database).add(note("a"))
        async with database.begin() as connection:
            await connection.execute(text("CREATE ROLE reader_of_notes LOGIN"))
            await connection.execute(
                text("GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader_of_notes")
            )
        try:
            scheme, _, rest = postgres_url.partition("://")
            reader = f"{scheme}://reader_of_notes@{rest.partition('@')[2]}"
            async with opened(reader) as reading:
                with pytest.raises(DatabaseStartupError, match="may not write"):
                    await TokenNotes(reading).add(note("b"))
        finally:
            async with database.begin() as connection:
                await connection.execute(text("DROP OWNED BY reader_of_notes"))
                await connection.execute(text("DROP ROLE reader_of_notes"))

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from kailash_mcp_prod.auth.api_keys import mint_key
from kailash_mcp_prod.errors import ConflictError, NotFoundError
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey

NOW = 1_000_000.0


class Clock:
    now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(database_url: str, clock: Clock) -> AsyncIterator[CredentialStore]:
    database = StateDatabase(database_url)
    yield CredentialStore(database, clock)
    await database.close()


def stored(**grants: object) -> StoredKey:
    key = mint_key()
    given = {"permissions": ("*:read",), "created_at": NOW, **grants}
    return StoredKey(id=key.id, digest=key.digest, lineage=key.id, **given)  # type: ignore[arg-type]


async def test_without_tables_there_is_nothing_and_nothing_is_made(store: CredentialStore) -> None:
    changes = await store.changes(None)

    assert (changes.revision, changes.keys, dict(changes.tokens)) == (0, (), {})
    assert await store.find("00") is None
    assert await store.all() == []
    assert await store.token_revoked_at("x") is None
    with pytest.raises(NotFoundError):
        await store.get("x")


async def test_a_key_comes_back_as_it_was_kept(store: CredentialStore) -> None:
    await store.prepare()
    key = stored(
        agent_id="säles",
        tenant_id="north",
        roles=("clerk",),
        read_only=True,
        rate_limit=5,
        surface="compact",
        claims={"regions": ["ö", 1, None]},
        label="x",
        expires_at=NOW + 0.123456,
    )
    await store.add(key)

    assert await store.get(key.id) == key
    assert await store.find(key.digest) == key
    assert await store.all() == [key]
    assert key.digest not in repr(key)


async def test_who_follows_gets_each_change_once(store: CredentialStore) -> None:
    await store.prepare()
    first, second = stored(), stored()
    await store.add(first)
    begun = await store.changes(None)
    assert begun.keys == ()
    await store.add(second)
    await store.revoke(first.id)
    await store.revoke_token("t1", NOW + 10)

    changes = await store.changes(begun.revision)

    assert {each.id: each.revoked_at for each in changes.keys} == {first.id: NOW, second.id: None}
    assert changes.tokens == {"t1": NOW + 10}
    later = await store.changes(changes.revision)
    assert (later.revision, later.keys, dict(later.tokens)) == (changes.revision, (), {})
    # A database that was set back is read anew.
    assert (await store.changes(99)).tokens == {"t1": NOW + 10}


async def test_no_change_is_missed_while_many_change(store: CredentialStore) -> None:
    await store.prepare()
    keys = [stored() for _ in range(12)]
    for each in keys:
        await store.add(each)
    begun = (await store.changes(None)).revision
    seen: set[str] = set()

    async def follow() -> None:
        revision = begun
        while len(seen) < len(keys):
            changes = await store.changes(revision)
            revision = changes.revision
            seen.update(each.id for each in changes.keys if each.revoked_at is not None)

    async with asyncio.timeout(20):
        await asyncio.gather(follow(), *(store.revoke(each.id) for each in keys))
    assert seen == {each.id for each in keys}


async def test_rotation_ends_the_old_key_with_the_overlap_or_before(store: CredentialStore) -> None:
    await store.prepare()
    key, short = stored(), stored(expires_at=NOW + 5)
    for each in (key, short):
        await store.add(each)
        successor = replace(stored(), lineage=each.lineage)
        old = await store.rotate(each.id, successor, NOW + 60)

        assert old == replace(
            each, expires_at=min(each.expires_at or NOW + 60, NOW + 60), replaced_by=successor.id
        )
        assert await store.get(each.id) == old
        assert await store.get(successor.id) == successor


async def test_only_a_good_key_is_rotated_and_only_once(
    store: CredentialStore, clock: Clock
) -> None:
    await store.prepare()
    once, revoked, expired = stored(), stored(), stored(expires_at=NOW + 5)
    for each in (once, revoked, expired):
        await store.add(each)
    await store.revoke(revoked.id)
    await store.rotate(once.id, stored(), NOW + 60)
    clock.now = NOW + 5

    for key, word in [(once, "before"), (revoked, "revoked"), (expired, "expired")]:
        with pytest.raises(ConflictError, match=word):
            await store.rotate(key.id, stored(), NOW + 60)
    with pytest.raises(NotFoundError):
        await store.rotate("nobody", stored(), NOW + 60)
    assert len(await store.all()) == 4


async def test_of_two_rotations_at_once_one_wins(store: CredentialStore) -> None:
    await store.prepare()
    key = stored()
    await store.add(key)

    outcomes = await asyncio.gather(
        *(store.rotate(key.id, stored(), NOW + 60) for _ in range(2)), return_exceptions=True
    )

    assert sorted(type(each).__name__ for each in outcomes) == ["ConflictError", "StoredKey"]
    assert len(await store.all()) == 2


async def test_a_revocation_lasts_and_keeps_its_first_time(
    store: CredentialStore, clock: Clock
) -> None:
    await store.prepare()
    key = stored()
    await store.add(key)
    assert (await store.revoke(key.id)).state_at(NOW) == "revoked"
    clock.now += 60

    assert (await store.revoke(key.id)).revoked_at == NOW
    with pytest.raises(NotFoundError):
        await store.revoke("nobody")


async def test_the_last_use_only_moves_on(store: CredentialStore) -> None:
    await store.prepare()
    key = stored()
    await store.add(key)
    for used, since, seen in [(10, 0, 10), (20, 5, 10), (80, 20, 80)]:
        await store.touch([key.id, "nobody"], used, since)
        assert (await store.get(key.id)).last_used_at == seen


async def test_a_revoked_token_is_remembered_while_it_could_be_shown(
    store: CredentialStore, clock: Clock
) -> None:
    await store.prepare()
    await store.revoke_token("ends", NOW + 10)
    await store.revoke_token("lasts", None)
    assert await store.token_revoked_at("ends") == NOW
    clock.now = NOW + 10 + 90_000

    assert (await store.changes(None)).tokens == {"lasts": None}
    await store.revoke_token("lasts", NOW + 200_000)
    assert await store.token_revoked_at("ends") is None
    assert (await store.changes(None)).tokens == {"lasts": NOW + 200_000}

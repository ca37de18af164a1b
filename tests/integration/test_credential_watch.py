"""The watch of minted keys and tokens, with a database that comes and goes."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit

import pytest

from kailash_mcp_prod.auth import revocation
from kailash_mcp_prod.auth.api_keys import MintedKey, mint_key
from kailash_mcp_prod.auth.chain import CredentialChain
from kailash_mcp_prod.auth.jwt_tokens import JwtProvider
from kailash_mcp_prod.auth.principal import Credentials, Principal
from kailash_mcp_prod.auth.revocation import GRACE_SECONDS, CredentialWatch, RevocableChain
from kailash_mcp_prod.auth.signing_keys import FixedKeys, shared_key
from kailash_mcp_prod.auth.token_minting import TokenGrants, mint_token
from kailash_mcp_prod.errors import OverloadedError, UnauthenticatedError, UnavailableError
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey

SECRET = "a-secret-of-more-than-thirty-two-bytes"
SOON = 10.0


class Clock:
    """Time, and as much more as a test lets pass."""

    ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


class Gate:
    """A way to a database, which can be shut."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self._target = target
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def shut(self) -> None:
        assert self._server is not None
        self._server.close()
        for writer in tuple(self._writers):
            writer.transport.abort()
        await self._server.wait_closed()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        back, forth = await asyncio.open_connection("127.0.0.1", self._target)
        await asyncio.gather(self._relay(reader, forth), self._relay(back, writer))

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        try:
            while data := await reader.read(65536):
                writer.write(data)
        except ConnectionError:
            pass
        finally:
            writer.transport.abort()
            self._writers.discard(writer)


async def kept(store: CredentialStore, **grants: object) -> MintedKey:
    key = mint_key()
    given = {"permissions": ("*:read",), "created_at": time.time(), **grants}
    await store.add(StoredKey(id=key.id, digest=key.digest, lineage=key.id, **given))  # type: ignore[arg-type]
    return key


async def polled(watch: CredentialWatch, *, answers: bool) -> None:
    async with asyncio.timeout(SOON):
        while watch.answers is not answers:  # noqa: ASYNC110 - the watch has no event for it
            await asyncio.sleep(0.02)


@pytest.fixture
async def store(sqlite_url: str) -> AsyncIterator[CredentialStore]:
    database = StateDatabase(sqlite_url)
    store = CredentialStore(database)
    await store.prepare()
    yield store
    await database.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def watch(store: CredentialStore, clock: Clock) -> AsyncIterator[CredentialWatch]:
    async def opened() -> CredentialStore:
        return store

    watch = CredentialWatch(opened, clock)
    yield watch
    await watch.close()


async def test_an_outage_is_borne_for_a_while_then_nobody_comes_in_until_it_ends(
    postgres_url: str, clock: Clock
) -> None:
    gate = Gate(urlsplit(postgres_url).port or 0)
    await gate.open()
    address = f"postgresql://postgres@127.0.0.1:{gate.port}{urlsplit(postgres_url).path}"
    database = StateDatabase(address)
    store = CredentialStore(database)
    await store.prepare()

    async def opened() -> CredentialStore:
        return store

    watch = CredentialWatch(opened, clock)
    key = await kept(store)
    unseen = await kept(store)
    principal = await watch.find(key.text)
    assert principal is not None
    over = asyncio.Event()
    watch.on_revoked(principal, over.set)

    await gate.shut()
    await polled(watch, answers=False)
    assert await watch.find(key.text) == principal
    with pytest.raises(UnavailableError):
        await watch.find(unseen.text)
    assert not over.is_set()

    clock.ahead += GRACE_SECONDS + 1
    with pytest.raises(UnavailableError):
        await watch.find(key.text)
    async with asyncio.timeout(SOON):
        await over.wait()

    await gate.open()
    await polled(watch, answers=True)
    assert await watch.find(key.text) == principal
    assert await watch.find(unseen.text) is not None
    await watch.close()
    await database.close()
    await gate.shut()


async def test_a_server_that_has_never_heard_of_revocations_takes_no_revocable_token() -> None:
    database = StateDatabase("postgresql://nobody@127.0.0.1:1/none")

    async def opened() -> CredentialStore:
        return CredentialStore(database)

    watch = CredentialWatch(opened)
    chain = RevocableChain(
        CredentialChain([JwtProvider([("jwt", FixedKeys([shared_key(SECRET)]))])]), watch
    )
    token = mint_token(SECRET, TokenGrants("a", ("*",)), 60)
    with pytest.raises(UnavailableError):
        await chain.authenticate(Credentials(authorization=f"Bearer {token.text}"))
    await watch.close()
    await database.close()


async def test_a_principal_that_can_not_be_revoked_asks_nobody(watch: CredentialWatch) -> None:
    for principal in (
        Principal("a", frozenset()),
        Principal("a", frozenset(), "api_key", claims=_claims(jti="x")),
        Principal("a", frozenset(), "jwt", claims=_claims(jti=7)),
        Principal("a", frozenset(), "jwt", claims=_claims(jti="")),
    ):
        await watch.require_good(principal)
        watch.on_revoked(principal, lambda: None)()
    assert watch.answers is None


def _claims(**claims: object) -> MappingProxyType[str, object]:
    return MappingProxyType(claims)


async def test_the_watch_rests_when_nothing_is_in_use_and_then_asks_first(
    watch: CredentialWatch, store: CredentialStore, clock: Clock
) -> None:
    key = await kept(store)
    principal = await watch.find(key.text)
    assert principal is not None
    forget = watch.on_revoked(principal, lambda: None)
    clock.ahead += 3600
    # Somebody waits for its end, so it goes on.
    for _ in range(3):
        assert watch.answers is True
        await asyncio.sleep(0.3)
    forget()
    async with asyncio.timeout(SOON):
        while watch.answers is not None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)

    await store.revoke(key.id)
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await watch.find(key.text)


async def test_an_unknown_key_is_looked_up_once_until_something_changes(
    watch: CredentialWatch, store: CredentialStore
) -> None:
    key = mint_key()
    assert await watch.find(key.text) is None
    assert await watch.find(key.text) is None
    assert len(watch._refused) == 1
    await store.add(StoredKey(key.id, key.digest, key.id, time.time(), permissions=("*",)))

    async with asyncio.timeout(SOON):
        while await watch.find(key.text) is None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


async def test_what_is_remembered_and_what_waits_is_bounded(
    watch: CredentialWatch, store: CredentialStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(revocation, "_MAX_KEYS", 5)
    monkeypatch.setattr(revocation, "_MAX_WAITING", 6)
    for _ in range(8):
        assert await watch.find((await kept(store)).text) is not None
        assert await watch.find(mint_key().text) is None
    assert len(watch._keys) == len(watch._digests) == len(watch._refused) == 5
    assert len(watch._noted) <= 5

    outcomes = await asyncio.gather(
        *(watch.find(mint_key().text) for _ in range(20)), return_exceptions=True
    )
    assert sum(isinstance(each, OverloadedError) for each in outcomes) == 14


async def test_the_note_of_a_use_waits_for_others_who_write_and_nothing_else_does(
    watch: CredentialWatch, store: CredentialStore, tmp_path: Path
) -> None:
    key = await kept(store)
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as foreign:
        foreign.execute("BEGIN IMMEDIATE")
        assert await watch.find(key.text) is not None
        async with asyncio.timeout(SOON):
            while watch._noting is None:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
            answered = watch._answered_at
            while watch._answered_at == answered:  # noqa: ASYNC110 - as above
                await asyncio.sleep(0.02)
        assert not watch._noting.done()
        foreign.execute("COMMIT")
    await watch._noting
    assert (await store.get(key.id)).last_used_at is not None


async def test_keys_are_good_for_a_user_who_may_only_read(postgres_url: str) -> None:
    owner = StateDatabase(postgres_url)
    kept_by = CredentialStore(owner)
    await kept_by.prepare()
    key = await kept(kept_by)
    async with owner.begin() as connection:
        await connection.exec_driver_sql("DROP ROLE IF EXISTS kmp_reader")
        await connection.exec_driver_sql("CREATE ROLE kmp_reader LOGIN")
        await connection.exec_driver_sql("GRANT pg_read_all_data TO kmp_reader")
    reader = StateDatabase(postgres_url.replace("postgres@", "kmp_reader@"))

    async def opened() -> CredentialStore:
        return CredentialStore(reader)

    watch = CredentialWatch(opened)
    assert await watch.find(key.text) is not None
    await watch.close()
    assert (await kept_by.get(key.id)).last_used_at is None
    await reader.close()
    async with owner.begin() as connection:
        await connection.exec_driver_sql("DROP ROLE kmp_reader")
    await owner.close()


async def test_a_key_is_known_by_more_than_its_id(
    watch: CredentialWatch, store: CredentialStore
) -> None:
    key = await kept(store)
    forged = f"{key.text[:21]}{mint_key().text[21:]}"

    assert forged != key.text
    assert await watch.find(forged) is None


async def test_keys_of_an_agent_are_one_caller_and_others_are_not(
    watch: CredentialWatch, store: CredentialStore
) -> None:
    keys = [await kept(store, agent_id=agent) for agent in ("a", "a", "b", None, None)]
    subjects = [
        principal.subject for each in keys if (principal := await watch.find(each.text)) is not None
    ]

    assert subjects[:3] == ["kmp:a", "kmp:a", "kmp:b"]
    assert len(set(subjects)) == 4


async def test_an_expired_key_is_refused_as_any_credential(
    watch: CredentialWatch, store: CredentialStore
) -> None:
    from kailash_mcp_prod.auth.api_keys import ApiKeyProvider

    key = await kept(store, expires_at=time.time() - 1)
    chain = CredentialChain([ApiKeyProvider({}, watch)])
    with pytest.raises(UnauthenticatedError, match="expired"):
        await chain.authenticate(Credentials(api_key=key.text))


async def test_a_watch_that_ends_before_its_first_answer_keeps_nobody_waiting() -> None:
    asked = asyncio.Event()

    async def opened() -> CredentialStore:
        asked.set()
        await asyncio.Event().wait()
        raise AssertionError

    watch = CredentialWatch(opened)
    finding = asyncio.create_task(watch.find(mint_key().text))
    await asked.wait()
    await watch.close()
    with pytest.raises(UnavailableError):
        await finding


async def test_a_defect_counts_as_no_answer_and_does_not_end_the_watch(
    store: CredentialStore, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    async def opened() -> CredentialStore:
        if broken:
            raise ZeroDivisionError
        return store

    key = await kept(store)
    watch = CredentialWatch(opened, clock)
    with pytest.raises(UnavailableError):
        await watch.find(key.text)
    assert watch.answers is False
    assert "Asking for changes of credentials failed" in caplog.text

    broken = False
    await polled(watch, answers=True)
    assert await watch.find(key.text) is not None
    await watch.close()


async def test_a_database_with_an_older_state_is_believed_anew(
    watch: CredentialWatch, store: CredentialStore, tmp_path: Path
) -> None:
    key = await kept(store)
    assert await watch.find(key.text) is not None
    with closing(sqlite3.connect(tmp_path / "test.db", isolation_level=None)) as restored:
        tables = restored.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            restored.execute(f'DELETE FROM "{table}"')

    async with asyncio.timeout(SOON):
        while await watch.find(key.text) is not None:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)


async def test_a_key_that_changes_while_it_is_looked_up_is_looked_up_again(
    sqlite_url: str,
) -> None:
    looked_up, go_on = asyncio.Event(), asyncio.Event()

    class Slow(CredentialStore):
        async def find(self, digest: str) -> StoredKey | None:
            found = await super().find(digest)
            looked_up.set()
            await go_on.wait()
            return found

    database = StateDatabase(sqlite_url)
    store = Slow(database)
    await store.prepare()

    async def opened() -> CredentialStore:
        return store

    watch = CredentialWatch(opened)
    key = await kept(store)
    finding = asyncio.create_task(watch.find(key.text))
    await looked_up.wait()
    before = watch._revision
    await store.revoke(key.id)
    async with asyncio.timeout(SOON):
        while watch._revision == before:  # noqa: ASYNC110 - as above
            await asyncio.sleep(0.02)
    go_on.set()
    with pytest.raises(UnauthenticatedError, match="revoked"):
        await finding
    await watch.close()
    await database.close()

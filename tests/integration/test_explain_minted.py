"""Whom `explain` takes an agent for: a configured key, else a minted one, else a mere name."""

from __future__ import annotations

import json
import os
import time
from typing import Any

import asyncpg
import pytest
import typer

from kailash_mcp_prod.auth.api_keys import mint_key
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.cli_explain import _claims, _principal
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import ConfigError, DatabaseStartupError
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey

AWAY = "postgresql://nobody:hunter2@127.0.0.1:1/none"
CLERK = {"roles": frozenset({"clerk"})}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {"DATABASE_URL", "JWT_SECRET", "API_KEYS"}:
            monkeypatch.delenv(name)


async def who(url: str, agent: str, given: dict[str, Any] | None = None) -> Principal:
    keys = {"a-key-of-the-configuration": {"agent_id": "configured", "permissions": ["*"]}}
    config = ServerConfig(
        transport="stdio", enable_auth=False, key_store=True, database_url=url, api_keys=keys
    )
    return await _principal(config, agent, given or {})


async def minted(url: str, **given: Any) -> str:
    database = StateDatabase(url, connections=1)
    try:
        store = CredentialStore(database)
        await store.prepare()
        key = mint_key()
        grants = {"permissions": ("*:read",), **given}
        await store.add(StoredKey(key.id, key.digest, key.id, time.time(), **grants))
    finally:
        await database.close()
    return key.id


async def test_a_minted_key_is_found_by_its_names(sqlite_url: str) -> None:
    key_id = await minted(sqlite_url, agent_id="sales", label="CRM", claims={"team": "x"})
    await minted(sqlite_url, agent_id="another")

    for name in (key_id, "sales", "CRM"):
        found = await who(sqlite_url, name)
        assert (found.subject, found.permissions) == ("kmp:sales", {"*:read"})
        assert (found.method, dict(found.claims)) == ("api_key", {"team": "x"})
    supposed = await who(sqlite_url, "sales", CLERK)
    assert (supposed.roles, supposed.permissions) == ({"clerk"}, {"*:read"})


async def test_a_configured_key_goes_first_and_needs_no_database(sqlite_url: str) -> None:
    await minted(sqlite_url, agent_id="configured")

    for url in (sqlite_url, AWAY):
        assert (await who(url, "configured")).subject == "key:configured"


async def test_who_is_unknown_or_has_no_good_key_needs_a_hypothesis(sqlite_url: str) -> None:
    with pytest.raises(ConfigError, match="no minted one"):
        await who(sqlite_url, "alice")
    key_id = await minted(sqlite_url, agent_id="alice", revoked_at=1.0)
    with pytest.raises(ConfigError, match=f"{key_id} is revoked"):
        await who(sqlite_url, "alice")

    supposed = await who(sqlite_url, "alice", CLERK)
    assert (supposed.subject, supposed.permissions) == ("alice", frozenset())


async def test_a_user_who_may_not_read_keys_is_told_so(
    postgres_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    await minted(postgres_url, agent_id="sales")
    owner = await asyncpg.connect(postgres_url)
    await owner.execute("DROP ROLE IF EXISTS kmp_nobody; CREATE ROLE kmp_nobody LOGIN")
    url = postgres_url.replace("postgres@", "kmp_nobody@")
    try:
        with pytest.raises(DatabaseStartupError, match="looked up: The database's user may not"):
            await who(url, "sales")
        assert (await who(url, "sales", CLERK)).subject == "sales"
        assert "may not" in capsys.readouterr().err
    finally:
        await owner.execute("DROP ROLE kmp_nobody")
        await owner.close()


def test_claims_are_given_one_by_one_or_as_json() -> None:
    single = ["sub=user-1", "level=3", 'teams=["a", "b"]', "note=a=b"]
    found = {"sub": "user-1", "level": 3, "teams": ["a", "b"], "note": "a=b"}
    assert _claims(None, None) is None
    assert _claims(None, single) == found == _claims(json.dumps(found), None)
    assert _claims('{"sub": "user-2", "tenant": "t"}', single) == {**found, "tenant": "t"}
    for wrong in ((None, ["sub"]), (None, ["=x"]), ("[]", None), ("{", single)):
        with pytest.raises(typer.BadParameter):
            _claims(*wrong)


async def test_a_database_that_is_away_is_an_error_or_with_a_hypothesis_a_warning(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(DatabaseStartupError, match="minted ones can't be looked up") as caught:
        await who(AWAY, "alice")
    assert "hunter2" not in str(caught.value)

    assert (await who(AWAY, "alice", CLERK)).subject == "alice"
    told = capsys.readouterr()
    assert "can't be looked up" in told.err
    assert told.out == ""

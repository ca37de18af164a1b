"""What `docs/authentication.md` says of keys, and of tokens from the command line, happens."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import jwt
import pytest

from kailash_mcp_prod.auth.api_keys import MIN_KEY_LENGTH, mint_key
from kailash_mcp_prod.auth.revocation import GRACE_SECONDS
from kailash_mcp_prod.config_values import MAX_CLAIMS_LENGTH, ApiKeyEntry, read_keys
from kailash_mcp_prod.state.credentials import CredentialStore
from kailash_mcp_prod.state.database import StateDatabase
from kailash_mcp_prod.state.stored_key import StoredKey
from tests.e2e.exchanges import META, ModernHttp, request
from tests.e2e.servers import ROOT, HttpServer, forked, serving
from tests.e2e.snippets import only, run_in, snippets

PAGE = ROOT / "docs" / "authentication.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHELL = snippets(PAGE, "sh")
SECRET = "a-secret-of-more-than-thirty-two-bytes"


def configured() -> str:
    [keys] = re.findall(r"export API_KEYS='(.*?)'", only(SHELL, "export API_KEYS"), re.DOTALL)
    return str(keys)


def test_each_member_of_an_entry_is_documented_and_the_example_is_good() -> None:
    section = TEXT.partition("\n## API keys of the configuration\n")[2].partition("\n## ")[0]
    documented = re.findall(r"^\| `(\w+)` \| [A-Z`]", section, re.MULTILINE)

    assert sorted(documented) == sorted(ApiKeyEntry.model_fields)
    assert len(read_keys(configured())) == 2


def test_the_bounds_are_the_documented_ones() -> None:
    assert f"needs {MIN_KEY_LENGTH} characters or more" in TEXT
    assert f"at most {MAX_CLAIMS_LENGTH:,} characters" in TEXT
    assert f"for {GRACE_SECONDS:g} seconds" in TEXT


def ended_within(seconds: float, server: HttpServer, header: dict[str, str]) -> None:
    until = time.monotonic() + seconds
    while (answer := httpx.get(f"{server.rest}/tools", headers=header)).status_code == 200:
        assert time.monotonic() < until
    assert answer.json()["error"]["code"] == "unauthenticated"


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables that the commands and the server have in common."""
    folder = tmp_path_factory.mktemp("application")
    return {"DATABASE_URL": f"sqlite:///{folder}/app.db", "JWT_SECRET": SECRET}


@pytest.fixture(scope="module")
def server(
    application: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[HttpServer]:
    """A server as the page sets it up."""
    [(name, value)] = re.findall(r"export (\w+)=(\w+)", only(SHELL, "export MCP_KEY_STORE"))
    settings = {**application, "API_KEYS": configured(), name: value}
    with serving(tmp_path_factory.mktemp("server"), settings=settings) as running_server:
        yield running_server


def allows(server: HttpServer, header: dict[str, str]) -> bool:
    return httpx.get(f"{server.rest}/tools", headers=header).is_success


def test_a_key_comes_and_goes_as_the_page_says(
    server: HttpServer, application: dict[str, str], tmp_path: Path
) -> None:
    mint = only(SHELL, "REPORTING_KEY=")
    key = run_in(tmp_path, f'{mint}\nprintf %s "$REPORTING_KEY"', **application)
    with ModernHttp(server.mcp, {"x-api-key": key}) as client:
        assert client.request("tools/list")["result"]["tools"]
    listed = run_in(tmp_path, only(SHELL, "kailash-mcp-prod key list"), **application)
    key_id = key.split("_")[1]
    assert re.match(rf"{key_id} .*reporting.*Monthly report", listed)

    rotate = only(SHELL, "kailash-mcp-prod key rotate")
    successor = run_in(tmp_path, rotate, KEY_ID=key_id, **application).strip()
    assert allows(server, {"x-api-key": key})
    assert allows(server, {"x-api-key": successor})
    revoke = only(SHELL, "kailash-mcp-prod key revoke")
    run_in(tmp_path, revoke, KEY_ID=key_id, **application)
    ended_within(5, server, {"x-api-key": key})
    assert allows(server, {"x-api-key": successor})
    for secret in (key, successor, *json.loads(configured())):
        assert secret not in server.process.errors.text


def test_a_token_comes_and_goes_as_the_page_says(
    server: HttpServer, application: dict[str, str], tmp_path: Path
) -> None:
    mint = only(SHELL, "AGENT_TOKEN=")
    token = run_in(tmp_path, f'{mint}\nprintf %s "$AGENT_TOKEN"', **application)
    header = {"authorization": f"Bearer {token}"}
    assert allows(server, header)
    [inspect, revoke] = [each for each in SHELL if each.startswith("printf")]
    shown = run_in(tmp_path, inspect, AGENT_TOKEN=token, **application)
    assert "good:          yes" in shown
    assert "nightly-import" in shown

    run_in(tmp_path, revoke, AGENT_TOKEN=token, **application)
    ended_within(5, server, header)
    health = httpx.get(f"{server.rest}/health").json()
    assert health["components"]["credentials"] == {"status": "healthy"}
    assert token not in server.process.errors.text


def test_tokens_are_listed_and_revoked_by_their_jti_as_the_page_says(
    server: HttpServer, application: dict[str, str], tmp_path: Path
) -> None:
    mint = only(SHELL, "AGENT_TOKEN=")
    token = run_in(tmp_path, f'{mint}\nprintf %s "$AGENT_TOKEN"', **application)
    listed = run_in(tmp_path, only(SHELL, "kailash-mcp-prod token list"), **application)
    jti = listed.split()[0]
    assert re.match(rf"{jti}  active   nightly-import  *Company:\*  until ", listed)
    assert jti == jwt.decode(token, SECRET, algorithms=["HS256"])["jti"]
    header = {"authorization": f"Bearer {token}"}
    assert allows(server, header)

    revoke = only(SHELL, "kailash-mcp-prod token revoke --jti")
    run_in(tmp_path, revoke, TOKEN_ID=jti, **application)
    ended_within(5, server, header)
    without = {**application, "DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"}
    unlisted = only(SHELL, "SPARE_TOKEN=")
    spare = run_in(tmp_path, f'{unlisted}\nprintf %s "$SPARE_TOKEN"', **without)
    assert allows(server, {"authorization": f"Bearer {spare}"})


async def test_a_stdio_client_is_known_by_a_minted_key_until_it_is_revoked(
    tmp_path: Path, sqlite_url: str
) -> None:
    database = StateDatabase(sqlite_url)
    store = CredentialStore(database)
    try:
        await store.prepare()
        key = mint_key()
        made = time.time()
        await store.add(StoredKey(key.id, key.digest, key.id, made, permissions=("*:read",)))
        variables = {"DATABASE_URL": sqlite_url, "MCP_KEY_STORE": "true", "MCP_API_KEY": key.text}

        assert "Company_list" in await asyncio.to_thread(first_list, tmp_path, variables)
        await store.revoke(key.id)
        assert "revoked" in await asyncio.to_thread(refusal, tmp_path, variables)
    finally:
        await database.close()


def first_list(workdir: Path, variables: dict[str, str]) -> str:
    with forked(workdir, "--transport", "stdio", settings=variables) as process:
        process.send(request(1, "tools/list", _meta=META))
        return json.dumps(process.receive())


def refusal(workdir: Path, variables: dict[str, str]) -> str:
    with forked(workdir, "--transport", "stdio", settings=variables) as process:
        assert process.process.wait(20) == 1
        assert process.output.finish() == ""
        return process.errors.finish()

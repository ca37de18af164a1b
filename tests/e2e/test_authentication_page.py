"""What `docs/authentication.md` says of keys, and of tokens from the command line, happens."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from kailash_mcp_prod.auth.api_keys import MIN_KEY_LENGTH
from kailash_mcp_prod.auth.revocation import GRACE_SECONDS
from kailash_mcp_prod.config_values import MAX_CLAIMS_LENGTH, ApiKeyEntry, read_keys
from tests.e2e.exchanges import ModernHttp
from tests.e2e.servers import ROOT, HttpServer, running, serving
from tests.e2e.snippets import only, run_in, snippets

PAGE = ROOT / "docs" / "authentication.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHELL = snippets(PAGE, "sh")
SECRET = "a-secret-of-more-than-thirty-two-bytes"


def configured() -> str:
    [keys] = re.findall(r"export API_KEYS='(.*?)'", only(SHELL, "export API_KEYS"), re.DOTALL)
    return str(keys)


def test_each_member_of_an_entry_is_documented_and_the_example_is_good() -> None:
    documented = re.findall(r"^\| `(\w+)` \| [A-Z`]", TEXT, re.MULTILINE)

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


def test_keys_and_tokens_come_and_go_as_the_page_says(tmp_path: Path) -> None:
    common = {"DATABASE_URL": f"sqlite:///{tmp_path}/app.db", "JWT_SECRET": SECRET}
    [key_store] = re.findall(r"export (MCP_KEY_STORE)=(true)", only(SHELL, "export MCP_KEY"))
    settings = {**common, "API_KEYS": configured(), key_store[0]: key_store[1]}
    with serving(tmp_path, settings=settings) as server:
        mint = only(SHELL, "REPORTING_KEY=")
        key = run_in(tmp_path, f'{mint}\nprintf %s "$REPORTING_KEY"', **common)
        header = {"x-api-key": key}
        with ModernHttp(server.mcp, header) as client:
            assert client.request("tools/list")["result"]["tools"]
        listed = run_in(tmp_path, only(SHELL, "kailash-mcp-prod key list"), **common)
        key_id = key.split("_")[1]
        assert re.match(rf"{key_id} .*reporting.*Monthly report", listed)

        rotate = only(SHELL, "kailash-mcp-prod key rotate")
        successor = run_in(tmp_path, rotate, KEY_ID=key_id, **common).strip()
        for each in (key, successor):
            assert httpx.get(f"{server.rest}/tools", headers={"x-api-key": each}).is_success
        run_in(tmp_path, only(SHELL, "kailash-mcp-prod key revoke"), KEY_ID=key_id, **common)
        ended_within(5, server, header)
        assert httpx.get(f"{server.rest}/tools", headers={"x-api-key": successor}).is_success

        mint = only(SHELL, "AGENT_TOKEN=")
        token = run_in(tmp_path, f'{mint}\nprintf %s "$AGENT_TOKEN"', **common)
        bearer = {"authorization": f"Bearer {token}"}
        assert httpx.get(f"{server.rest}/tools", headers=bearer).is_success
        [inspect, revoke] = [each for each in SHELL if each.startswith("printf")]
        assert "good:          yes" in run_in(tmp_path, inspect, AGENT_TOKEN=token, **common)
        run_in(tmp_path, revoke, AGENT_TOKEN=token, **common)
        ended_within(5, server, bearer)
        with pytest.raises(subprocess.CalledProcessError) as not_good:
            run_in(tmp_path, inspect, AGENT_TOKEN=token, **common)
        assert not_good.value.returncode == 5
        health = httpx.get(f"{server.rest}/health").json()
        assert health["components"]["credentials"] == {"status": "healthy"}

        flags = shlex.split("--transport stdio")
        stdio = {**common, "MCP_KEY_STORE": "true", "MCP_API_KEY": successor}
        with running(tmp_path, *flags, settings=stdio) as process:
            meta = {
                "io.modelcontextprotocol/protocolVersion": "2026-07-28",
                "io.modelcontextprotocol/clientCapabilities": {},
            }
            process.send(
                {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": meta}}
            )
            assert process.receive()["result"]["tools"]
            process.close_input()
        with running(tmp_path, *flags, settings={**stdio, "MCP_API_KEY": key}) as process:
            assert process.process.wait(20) == 1
            assert "revoked" in process.errors.finish()
    log = server.process.errors.finish()
    for secret in (key, successor, token, SECRET, *json.loads(configured())):
        assert secret not in log

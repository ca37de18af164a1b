"""The worked example of docs/authentication.md, with a real identity provider in its place."""

from __future__ import annotations

import json
import re
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kailash_mcp_prod.background import BackgroundLoop
from kailash_mcp_prod.config_tokens import TokenSettings
from tests.e2e.servers import ROOT, serving
from tests.e2e.snippets import run_in
from tests.identity_provider import IdentityProvider, issued

PAGE = (ROOT / "docs" / "authentication.md").read_text(encoding="utf-8")
EXAMPLE = PAGE.partition("\n## An identity provider, step by step\n")[2].partition("\n## ")[0]
ISSUER = "https://auth.example.com/realms/acme"


def blocks(language: str) -> list[str]:
    found = re.findall(rf" *```{language}\n(.*?)```", EXAMPLE, re.DOTALL)
    return [textwrap.dedent(each).strip() for each in found]


@pytest.fixture
def idp() -> Iterator[IdentityProvider]:
    background = BackgroundLoop("identity-provider")
    provider = IdentityProvider()
    background.run(provider.__aenter__())
    yield provider
    background.run(provider.__aexit__())
    background.close()


def test_the_example_lets_in_who_comes_from_the_provider(
    tmp_path: Path, idp: IdentityProvider
) -> None:
    settings, metadata = (json.loads(each) for each in blocks("json"))
    settings["jwks_url"] = idp.jwks_url
    (tmp_path / "mcp.json").write_text(json.dumps(settings))
    serve, challenge, ask, tools = blocks("sh")
    [expected] = blocks("text")

    with serving(tmp_path, *shlex.split(serve)[2:]) as server:

        def run(command: str, **variables: str) -> str:
            here = {"3001": str(server.ports[0]), "3002": str(server.ports[1])}
            for port, own in here.items():
                command = command.replace(f"127.0.0.1:{port}", f"127.0.0.1:{own}")
            return run_in(tmp_path, command, **variables)

        def names(**claims: Any) -> list[str]:
            token = issued(**{"iss": ISSUER, "scope": "openid mcp", "groups": ["sales"], **claims})
            answer = json.loads(run(tools, TOKEN=token))
            return [each["name"] for each in answer.get("tools", [])]

        assert run(challenge).strip() == expected
        assert json.loads(run(ask)) == metadata
        of_sales = names()
        assert {"Company_list", "Quote_create", "Quote_bulk_delete"} <= set(of_sales)
        assert not {"Company_create", "Supplier_list"} & set(of_sales)
        assert "Company_list" not in names(groups=["guests"])
        for claims in ({"aud": "https://other.example.com"}, {"iss": "x"}, {"scope": "openid"}):
            assert names(**claims) == []
        assert len(idp.questions) == 1


def test_the_listed_token_of_the_page_is_taken(tmp_path: Path) -> None:
    [listed] = re.findall(r"export MCP_BEARER_TOKENS='(.*)'", PAGE)
    [token] = json.loads(listed)
    with serving(tmp_path, settings={"MCP_BEARER_TOKENS": listed}) as server:
        listing = f"curl -s {server.rest}/tools -H 'Authorization: Bearer {token}'"
        names = [each["name"] for each in json.loads(run_in(tmp_path, listing))["tools"]]

    assert "Company_list" in names
    assert "Company_create" not in names


def test_every_setting_that_the_page_names_is_one() -> None:
    own = set(TokenSettings.__annotations__)
    assert {each for each in own if f"`{each}`" not in PAGE and f'"{each}"' not in PAGE} == set()

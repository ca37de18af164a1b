"""What docs/access.md says is done here as written."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.cli import app
from kailash_mcp_prod.records.operations import TRAITS, Operation
from tests.e2e.servers import ROOT
from tests.e2e.snippets import snippets
from tests.unit.tools.sample_tools import tool

PAGE = ROOT / "docs" / "access.md"
EXPLAINED = re.findall(r"```sh\n(.*?)\n```\n\n```\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The configuration of the page."""
    path = tmp_path_factory.mktemp("access") / "access.json"
    path.write_text(snippets(PAGE, "json")[0], encoding="utf-8")
    return path


@pytest.mark.parametrize(("command", "printed"), EXPLAINED)
def test_explain_says_what_the_page_says(settings: Path, command: str, printed: str) -> None:
    words = [str(settings) if word == "access.json" else word for word in shlex.split(command)]
    ran = CliRunner().invoke(app, words[1:])
    assert ran.stdout == printed, ran.exception
    assert ran.exit_code == (0 if " may call " in printed else 5)
    as_json = CliRunner().invoke(app, [*words[1:], "--json"])
    assert json.loads(as_json.stdout)["allowed"] is (ran.exit_code == 0)


def test_every_shell_snippet_of_the_page_is_covered_by_a_test() -> None:
    assert snippets(PAGE, "sh") == [f"{command}\n" for command, _ in EXPLAINED]


def test_explain_asks_for_an_agent_that_is_known(settings: Path) -> None:
    ran = CliRunner().invoke(app, ["explain", "alice", "Quote_read", "--config", str(settings)])
    assert "no configured api key has the agent_id alice" in str(ran.exception).lower()


def test_the_permissions_allow_what_the_table_says() -> None:
    rows = re.findall(r"^\| (`[^|]+) \| (.+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    permissions = [each for shown, _ in rows for each in re.findall(r"`([\w*:]+)`", shown)]
    assert {"*", "Company:read", "*:list", "tool:Company_create", "session:*"} <= set(permissions)
    reads = {each for each in Operation if TRAITS[each].access == "read"}
    reached = {
        "Company:read": reads,
        "Company:write": set(Operation) - reads,
        "Company:create": {Operation.CREATE},
        "Company:*": set(Operation),
        "*": set(Operation),
        "*:list": {Operation.LIST},
        "tool:Company_create": {Operation.CREATE},
    }
    for permission, operations in reached.items():
        principal = Principal("p", frozenset({permission}))
        assert operations == {
            each
            for each in Operation
            if Policy().allows(principal, tool(f"Company_{each}", permissions=(f"Company:{each}",)))
        }

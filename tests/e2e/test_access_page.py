"""What docs/access.md says is done here as written."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys

import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import Principal
from kailash_mcp_prod.records.operations import TRAITS, Operation
from tests.e2e.servers import ROOT, environment
from tests.e2e.snippets import snippets
from tests.unit.tools.sample_tools import tool

PAGE = ROOT / "docs" / "access.md"
UNKNOWN = "kailash-mcp-prod explain alice Quote_read --config access.json"
EXPLAINED = re.findall(r"```sh\n(.*?)\n```\n\n```\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
AS_JSON = [f"{EXPLAINED[at][0]} --json" for at in (0, -1)]
RUNNER = """
import json, sys
from typer.testing import CliRunner
from kailash_mcp_prod.cli import app
ran = [CliRunner().invoke(app, words) for words in json.load(sys.stdin)]
print(json.dumps([[each.exit_code, each.stdout, each.stderr, str(each.exception)] for each in ran]))
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[int, str, str, str]]:
    """How each command ends, and what it prints, with the page's configuration.

    They share one process, because loading the application takes them seconds, and it is not this
    one, because they have a database of their own.
    """
    workdir = tmp_path_factory.mktemp("access")
    (workdir / "access.json").write_text(snippets(PAGE, "json")[0], encoding="utf-8")
    [mint] = re.findall(r"`(kailash-mcp-prod key mint .*?)`", PAGE.read_text("utf-8"))
    commands = [mint, *(command for command, _ in EXPLAINED), *AS_JSON, UNKNOWN]
    done = subprocess.run(
        [sys.executable, "-c", RUNNER],
        input=json.dumps([shlex.split(each)[1:] for each in commands]),
        cwd=workdir,
        env=environment(DATABASE_URL=f"sqlite:///{workdir}/app.db"),
        capture_output=True,
        text=True,
        timeout=50,
        check=True,
    )
    return dict(zip(commands, json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(("command", "printed"), EXPLAINED)
def test_explain_says_what_the_page_says(
    ran: dict[str, tuple[int, str, str, str]], command: str, printed: str
) -> None:
    exit_code, stdout, stderr, problem = ran[command]
    assert stdout == printed, problem
    assert exit_code == (0 if " may call " in printed else 5)
    assert ("MCP_KEY_STORE" in stderr) is ("kmp:" in printed)


def test_explain_says_the_same_to_programs(ran: dict[str, tuple[int, str, str, str]]) -> None:
    told = [(ran[each][0], json.loads(ran[each][1])["allowed"]) for each in AS_JSON]
    assert told == [(0, True), (5, False)]


def test_every_shell_snippet_of_the_page_is_covered_by_a_test() -> None:
    assert snippets(PAGE, "sh") == [f"{command}\n" for command, _ in EXPLAINED]


def test_explain_asks_for_an_agent_that_is_known(
    ran: dict[str, tuple[int, str, str, str]],
) -> None:
    assert "no configured api key has the agent_id alice" in ran[UNKNOWN][3].lower()


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

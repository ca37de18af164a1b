"""What a shell is told to complete, asked as a shell asks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kailash_mcp_prod.cli import app
from kailash_mcp_prod.cli_completion import among, completer_of

PROGRAM = "kailash-mcp-prod"
VARIABLE = "_KAILASH_MCP_PROD_COMPLETE"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("MCP_") or name in {"DATABASE_URL", "REDIS_URL"}:
            monkeypatch.delenv(name)


def completed(line: str) -> list[str]:
    """What bash is told for a line whose end is to be completed."""
    words = line.split(" ")
    variables = {
        VARIABLE: "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(words) - 1),
    }
    told = CliRunner().invoke(app, [], prog_name=PROGRAM, env=variables)
    return told.stdout.split()


def test_commands_are_completed() -> None:
    assert completed(f"{PROGRAM} de") == ["demo"]
    assert completed(f"{PROGRAM} config s") == ["show", "schema"]


@pytest.mark.parametrize(
    ("line", "values"),
    [
        ("serve --mode ", ["standalone", "development", "nexus-integration"]),
        ("serve --transport w", ["websocket"]),
        ("serve --operations read,bulk_u", ["read,bulk_update", "read,bulk_upsert"]),
        ("demo --mode d", ["development"]),
        ("key mint --surface c", ["compact"]),
    ],
)
def test_values_are_completed_where_there_are_a_few(line: str, values: list[str]) -> None:
    assert completed(f"{PROGRAM} {line}") == values


@pytest.mark.parametrize("key", ["port", "host", "rate_limits", "enable_auth"])
def test_other_settings_are_not(key: str) -> None:
    assert completer_of(key) is None


def test_of_several_values_the_last_one_is_completed() -> None:
    assert among(["read", "list"])("read,l") == ["read,list"]


def test_without_a_note_of_the_application_no_names_are_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    assert completed(f"{PROGRAM} call Company_") == []
    assert completed(f"{PROGRAM} audit list --model ") == []

"""The commands `tools` and `call`, as far as no server is asked."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from kailash_mcp_prod.cli import app
from kailash_mcp_prod.errors import ConfigError

COMMANDS = pytest.mark.parametrize("command", [["tools"], ["call", "Company_list"]])


@COMMANDS
@pytest.mark.parametrize("variable", ["MCP_API_KEY", "MCP_TOKEN"])
def test_no_credential_goes_where_others_can_read_it(
    command: list[str], variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "hunter2")

    with pytest.raises(ConfigError, match="everybody on the way can read it") as refused:
        CliRunner().invoke(
            app, [*command, "--url", "http://mcp.invalid/mcp"], catch_exceptions=False
        )
    assert "hunter2" not in str(refused.value)


@COMMANDS
@pytest.mark.parametrize("url", ["nonsense", "ftp://h/mcp", "http://u:hunter2@127.0.0.1/mcp"])
def test_what_is_no_address_of_a_server_is_refused(command: list[str], url: str) -> None:
    with pytest.raises(ConfigError, match=r"^--url: ") as refused:
        CliRunner().invoke(app, [*command, "--url", url], catch_exceptions=False)
    assert "hunter2" not in str(refused.value)

from __future__ import annotations

import asyncio
import os
from collections import deque
from pathlib import Path

import pytest

from kailash_mcp_prod.errors import StartupError
from kailash_mcp_prod.own_server import (
    Addresses,
    _addresses,
    _no_new_folder,
    _why,
    own_server,
    without_settings,
)


async def told(text: str) -> Addresses | None:
    stream = asyncio.StreamReader(limit=64)
    stream.feed_data(text.encode())
    stream.feed_eof()
    return await _addresses(stream, deque())


async def test_a_server_tells_where_it_listens() -> None:
    http = "a warning\nMCP   http://h:1/mcp\nREST  http://h:2/docs\n"
    websocket = "WS    ws://h:1/ws\nREST  http://h:2/docs\n"
    nexus = "Nexus http://h:1\nMCP   http://h:1/api/mcp\nWS    ws://h:1/api/mcp/ws\n"

    assert await told(http) == Addresses("http://h:1/mcp", "http://h:2")
    assert await told(websocket) == Addresses(None, "http://h:2")
    assert await told(nexus) == Addresses("http://h:1/api/mcp", "http://h:1")


async def test_one_that_ends_before_tells_nothing() -> None:
    assert await told("MCP   http://h:1/mcp\n") is None


async def test_a_line_longer_than_is_read_at_once_is_passed_over() -> None:
    text = "x" * 1000 + "\nMCP   http://h:1/mcp\nREST  http://h:2/docs\n"

    assert await told(text) == Addresses("http://h:1/mcp", "http://h:2")


def test_a_folder_of_the_working_directory_goes_if_it_is_new_and_empty(tmp_path: Path) -> None:
    new, filled, old, none = (tmp_path / name for name in ("new", "filled", "old", "none"))
    old.mkdir()
    for each in (new, filled, old, none):
        with _no_new_folder(each):
            if each is not none:
                each.mkdir(exist_ok=True)
            if each is filled:
                (each / "one.sql").touch()

    assert {each.name for each in tmp_path.iterdir()} == {"filled", "old"}


async def test_a_server_that_does_not_start_is_quoted() -> None:
    environment = {**without_settings(), "MCP_PROT": "1"}

    with pytest.raises(StartupError) as refused:
        async with own_server(["--no-auth", "--port", "many"], environment):
            pytest.fail("it has started")

    assert str(refused.value).startswith("port: ")


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:hunter2@h/d", "postgresql://***@h/d"),
        ("redis://:hun/t@er2@h:1", "redis://***@h:1"),
        ("https://h/mcp", "https://h/mcp"),
    ],
)
def test_what_is_quoted_has_no_password(address: str, shown: str) -> None:
    said = ["starting", f"Error: models can't be imported: '{address}' refused a@b"]

    assert _why(said) == f"models can't be imported: '{shown}' refused a@b"


def test_no_setting_stays_in_an_environment_without_settings() -> None:
    ours = {"API_KEYS": "{}", "MCP_PORT": "1", "MCP_CONFIG_FILE": "x", "MCP_SECRETS_DIR": "x"}

    assert without_settings({"PATH": "/bin", **ours}) == {"PATH": "/bin"}
    assert without_settings().get("PATH") == os.environ.get("PATH")

"""Credentials that can't be shown are not good: nobody would ever hold, or miss, them."""

from __future__ import annotations

import json
import os
import shlex
import sqlite3
import subprocess
import sys
from contextlib import closing
from typing import Any

import pytest
from typer.testing import CliRunner

from kailash_mcp_prod.auth.api_keys import minted_id
from kailash_mcp_prod.cli import app
from tests.e2e.servers import environment

SECRET = "a-secret-of-more-than-thirty-two-bytes"
MINT_KEY = ("key", "mint", "--permissions", "*")
MINT_TOKEN = ("token", "mint", "--subject", "a", "--permissions", "*")
WAYS = {
    ">/dev/full": "No space left on device",
    ">&-": "It is closed",
    "|": "Broken pipe",
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> None:
    for name, setting in environment(DATABASE_URL=sqlite_url, JWT_SECRET=SECRET).items():
        monkeypatch.setenv(name, setting)


def unseen(way: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Runs a command whose standard output can't be written."""
    command = [sys.executable, "-m", "kailash_mcp_prod", *arguments]
    if way != "|":
        command = ["sh", "-c", f"exec {shlex.join(command)} {way}"]
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(
            command, stdout=writing, stderr=subprocess.PIPE, text=True, check=False
        )
    finally:
        os.close(writing)


def told(*arguments: str) -> Any:
    done = CliRunner().invoke(app, [*arguments, "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


@pytest.mark.parametrize("way", WAYS)
def test_a_key_that_can_not_be_shown_is_not_kept(way: str) -> None:
    done = unseen(way, *MINT_KEY)

    reason = f"Standard output can't be written: {WAYS[way]}. No key was minted."
    assert (done.returncode, done.stderr) == (1, f"Error: {reason}\n")
    assert told("key", "list", "--all") == []
    as_json = unseen(way, *MINT_KEY, "--json")
    error = {"code": "failed", "message": reason}
    assert (as_json.returncode, json.loads(as_json.stderr)) == (1, {"error": error})
    assert told("key", "list", "--all") == []


def test_a_key_stays_as_it_is_if_its_successor_can_not_be_shown() -> None:
    key = told(*MINT_KEY)
    del key["key"]
    done = unseen(">/dev/full", "key", "rotate", key["id"])

    assert done.returncode == 1
    assert done.stderr.endswith("No key was minted.\n")
    assert told("key", "list", "--all") == [key]


def test_a_key_that_can_not_be_noted_in_the_audit_is_shown_for_it_is_kept(sqlite_url: str) -> None:
    told(*MINT_KEY)
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection:
        connection.executescript(
            "ALTER TABLE mcp_audit_head RENAME TO gone; CREATE TABLE mcp_audit_head (other);"
        )
    done = CliRunner().invoke(app, MINT_KEY)

    assert done.exit_code == 4
    key_id = minted_id(done.stdout.strip())
    assert key_id == told("key", "list")[-1]["id"]
    assert done.stderr.startswith(f"Error: It is done (key_mint {key_id}), and could not be noted")


@pytest.mark.parametrize("way", WAYS)
def test_a_token_that_can_not_be_shown_is_revoked(way: str) -> None:
    done = unseen(way, *MINT_TOKEN)

    reason = f"Standard output can't be written: {WAYS[way]}. The token is revoked."
    assert (done.returncode, done.stderr) == (1, f"Error: {reason}\n")
    [token] = told("token", "list")
    assert token["state"] == "revoked"


def test_a_token_that_is_not_noted_and_can_not_be_shown_is_an_error_too() -> None:
    done = unseen(">/dev/full", *MINT_TOKEN, "--unlisted")

    reason = "Standard output can't be written: No space left on device."
    assert (done.returncode, done.stderr) == (1, f"Error: {reason}\n")
    assert told("token", "list") == []

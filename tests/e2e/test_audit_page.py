"""What `docs/audit.md` says happens, and a server that is killed loses no acknowledged entry."""

from __future__ import annotations

import asyncio
import csv
import json
import random
import re
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

from kailash_mcp_prod.observe.audit_chain import AuditSeal
from kailash_mcp_prod.observe.audit_denials import MAX_KINDS, WINDOW_SECONDS
from kailash_mcp_prod.observe.audit_entries import MAX_IDS, MAX_VALUES_BYTES
from kailash_mcp_prod.observe.audit_writing import MAX_WAITING
from tests.e2e.exchanges import META, request
from tests.e2e.forked import commands
from tests.e2e.servers import ROOT, environment, forked, serving
from tests.e2e.snippets import only, run_in, snippets

PAGE = ROOT / "docs" / "audit.md"
TEXT = PAGE.read_text(encoding="utf-8")
SHELL = snippets(PAGE, "sh")
SECRET = "a-secret-of-more-than-thirty-two-bytes"
KEY = "a-long-random-key"
KEYS = json.dumps({KEY: {"agent_id": "reporting", "permissions": ["Company:*"]}})
AT_ONCE = 16
LIVES = 3


def test_the_bounds_are_the_documented_ones() -> None:
    text = " ".join(TEXT.split())
    assert f"up to {MAX_IDS:,} ids" in text
    assert f"each {WINDOW_SECONDS:g} seconds" in text
    assert f"more than {MAX_KINDS} kinds" in text
    assert f"When {MAX_WAITING:,} entries wait" in text
    assert f"longer than {MAX_VALUES_BYTES // 1024} KiB" in text


def command(workdir: Path, *words: str, **settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [commands() / "kailash-mcp-prod", *words],
        cwd=workdir,
        env=environment(**settings),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_commands_of_the_page_tell_what_was_done(tmp_path: Path) -> None:
    database = tmp_path / "app.db"
    shared = {"DATABASE_URL": f"sqlite:///{database}", "JWT_SECRET": SECRET}
    with serving(tmp_path, settings={**shared, "API_KEYS": KEYS}) as server:
        own = {"X-API-Key": KEY}
        made = httpx.post(
            f"{server.rest}/tools/Company_create",
            json={"data": {"id": "7", "name": "=1+1", "city": "Kiel"}},
            headers=own,
        )
        assert made.status_code == 200, made.text
        assert httpx.get(f"{server.rest}/tools", headers={"X-API-Key": "no"}).status_code == 401
        denied = httpx.post(f"{server.rest}/tools/Customer_create", json={}, headers=own)
        assert denied.status_code == 404
    minted = command(tmp_path, "key", "mint", "--permissions", "Company:read", **shared)
    assert minted.returncode == 0, minted.stderr

    [several] = [each for each in SHELL if "audit list" in each]
    by_agent, by_id, verify, export = several.strip().splitlines()
    listed = run_in(tmp_path, by_agent, **shared)
    assert [line.split()[2:5] for line in listed.splitlines()] == [
        ["forbidden", "key:reporting", "Customer_create"],
        ["ok", "key:reporting", "Company_create"],
    ]
    [company] = json.loads(run_in(tmp_path, by_id, **shared))
    assert company["fields"] == ["name", "city"]
    assert run_in(tmp_path, verify, **shared).startswith("4 entries, 1 to 4, 4 of them sealed: ")
    run_in(tmp_path, export, **shared)
    with (tmp_path / "audit.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["tool"] for row in rows] == ["Company_create", "", "Customer_create", "key_mint"]
    assert rows[1]["who"] == rows[1]["outcome"] == "unauthenticated"
    assert rows[3]["who"].startswith("operator:")
    assert minted.stdout.strip() not in (tmp_path / "audit.csv").read_text()
    assert command(tmp_path, "audit", "export", "--output", "audit.csv", **shared).returncode == 2

    lines = run_in(tmp_path, "kailash-mcp-prod audit export", **shared).splitlines()
    for line in lines:
        text, _, told = line.rpartition(',"hash":"')
        assert AuditSeal(SECRET.encode()).hash(f"{text}}}".encode()) == told.removesuffix('"}')

    anchor = re.findall(r"Anchor: (\S+)", run_in(tmp_path, verify, **shared))[0]
    expecting = only(SHELL, "kailash-mcp-prod audit verify --expect")
    assert "hold together" in run_in(tmp_path, expecting, **shared, ANCHOR=anchor)
    tamper(database)
    found = command(tmp_path, "audit", "verify", "--json", "--expect", anchor, **shared)
    assert found.returncode == 1
    assert [(each["kind"], each["first"]) for each in json.loads(found.stdout)["breaks"]] == [
        ("changed", 2),
        ("removed", 4),
    ]


def tamper(database: Path) -> None:
    """What somebody does who owns the tables: hides a denial, and cuts the end off."""
    with closing(sqlite3.connect(database)) as connection, connection:
        for (name,) in list(
            connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")
        ):
            if name.startswith("mcp_audit"):
                connection.execute(f"DROP TRIGGER {name}")
        connection.execute(
            "UPDATE mcp_audit SET outcome = 'ok', entry = replace(entry, 'unauthenticated', 'ok') "
            "WHERE seq = 2"
        )
        connection.execute("DELETE FROM mcp_audit WHERE seq = 4")
        connection.execute(
            "UPDATE mcp_audit_head SET seq = 3, hash = (SELECT hash FROM mcp_audit WHERE seq = 3)"
        )


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        (("audit", "list"), 0, "0 entries"),
        (("audit", "verify"), 1, "There is no audit"),
        (("audit", "list", "--since", "yesterday"), 2, "'yesterday' is no time"),
        (("audit", "verify", "--expect", "12"), 2, "--expect takes SEQ:HASH"),
    ],
)
def test_what_can_t_be_told_is_said(
    tmp_path: Path, words: tuple[str, ...], code: int, text: str
) -> None:
    done = command(tmp_path, *words, DATABASE_URL=f"sqlite:///{tmp_path / 'none.db'}")

    assert done.returncode == code
    assert text in done.stdout + done.stderr


async def test_a_server_that_is_killed_has_the_entry_of_every_acknowledged_write(
    tmp_path: Path,
) -> None:
    chance = random.Random(20_261_125)
    shared = {"DATABASE_URL": f"sqlite:///{tmp_path / 'app.db'}", "JWT_SECRET": SECRET}
    settings = {**shared, "MCP_RATE_LIMIT_PER_MINUTE": "1000000000", "MCP_LOG_LEVEL": "ERROR"}
    acknowledged: set[str] = set()
    enough = asyncio.Event()
    wanted = 0

    async def write(client: httpx.AsyncClient, url: str, life: int, number: int) -> None:
        count = 0
        while True:
            key = f"{life}-{number}-{count}"
            try:
                answer = await client.post(
                    f"{url}/tools/Item_create", json={"data": {"id": key, "name": "x"}}
                )
            except httpx.TransportError:
                return
            assert answer.status_code == 200, answer.text
            acknowledged.add(key)
            if len(acknowledged) >= wanted:
                enough.set()
            count += 1

    for life in range(LIVES):
        enough.clear()
        wanted = len(acknowledged) + chance.randint(40, 150)
        with serving(
            tmp_path, "--no-auth", "--models", "tests.e2e.workflow_app:db", settings=settings
        ) as server:
            async with httpx.AsyncClient(timeout=30) as client, asyncio.TaskGroup() as group:
                for number in range(AT_ONCE):
                    group.create_task(write(client, server.rest, life, number))
                await enough.wait()
                server.process.process.send_signal(signal.SIGKILL)

    exported = run_in(tmp_path, "kailash-mcp-prod audit export", **shared)
    told = {
        each
        for line in exported.splitlines()
        if (entry := json.loads(line))["outcome"] == "ok"
        for each in entry["ids"]
    }
    assert len(acknowledged) >= 40 * LIVES
    assert acknowledged <= told
    assert "hold together" in run_in(tmp_path, "kailash-mcp-prod audit verify", **shared)


def test_over_stdio_nothing_is_opened_before_the_first_write(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'app.db'}"
    flags = ("--transport", "stdio", "--no-auth", "--models", "tests.e2e.workflow_app:db")

    def called(name: str, arguments: dict[str, Any]) -> None:
        with forked(tmp_path, *flags, settings={"DATABASE_URL": url}) as server:
            server.send(request(1, "tools/call", name=name, arguments=arguments, _meta=META))
            assert "result" in server.receive()
            server.close_input()
            server.process.wait(20)

    def tables() -> set[str]:
        with closing(sqlite3.connect(tmp_path / "app.db")) as connection:
            return {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}

    called("Item_list", {})
    assert "mcp_audit" not in tables()
    called("Item_create", {"data": {"name": "A"}})
    assert "mcp_audit" in tables()
    listed = command(tmp_path, "audit", "list", "--tool", "Item_create", DATABASE_URL=url)
    assert len(listed.stdout.splitlines()) == 1

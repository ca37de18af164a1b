"""A second start over stdio serves from the manifest of the first: the same, without DataFlow."""

from __future__ import annotations

import json
import re
import sqlite3
import sys
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.exchanges import Stdio
from tests.e2e.record_tools import OPERATIONS as NINE
from tests.e2e.servers import STDIO, running

PROGRAM = [sys.executable, "-X", "importtime", "-m", "kailash_mcp_prod", "serve"]
HEAVY = {"dataflow", "kailash", "models", "mcp", "fastapi", "uvicorn", "jwt"}
OPERATIONS = (*NINE, "upsert", "count")
SECRET = "a-secret-that-signs-the-cursors-of-both-starts"
KEY = "the-key-of-the-agent"

COMPANY = {
    "id": "c-1",
    "name": "Nordlicht GmbH",
    "annual_revenue": "1234567.80",
    "founded_on": "1999-04-01",
    "email": "post@nordlicht.example",
    "website": "https://nordlicht.example",
    "phone": "+49 431 123456",
    "settings": {"days": [1, 2.5, None]},
}
CALLS: list[tuple[str, dict[str, Any]]] = [
    ("Company_create", {"data": COMPANY}),
    ("Company_create", {"data": {"name": "Broken", "email": "no address"}}),
    ("Company_create", {"data": {"name": "Broken", "emial": "a@example.com"}}),
    ("Company_bulk_create", {"data": [{"id": f"c-{n}", "name": f"No {n}"} for n in (2, 3)]}),
    ("Company_update", {"id": "c-1", "data": {"city": "Kiel"}, "expected": {"city": None}}),
    ("Company_update", {"id": "c-1", "data": {"phone": "none"}}),
    ("Company_read", {"id": "c-1"}),
    ("Company_list", {"sort": ["-name"], "limit": 2, "include_total": True}),
    ("Company_list", {"filter": {"annual_revenue": {"$gt": "5"}}, "fields": ["id"]}),
    ("Company_list", {"limit": "many"}),
    ("Quote_list", {}),
    ("User_bulk_upsert", {"data": [{"email": "a@b.example", "name": "A"}], "conflict_on": ["x"]}),
    ("get_dataflow_models_info", {}),
    ("get_dataflow_models_info", {"model": "ClassificationMetrics"}),
    ("Company_bulk_delete", {"filter": {"id": {"$like": "c-%"}}}),
    ("Company_read", {"id": "c-1"}),
    ("Company_creat", {}),
]


ASKED: list[tuple[str, dict[str, Any]]] = [
    ("resources/list", {}),
    ("resources/read", {"uri": "dataflow://models"}),
    ("resources/read", {"uri": "dataflow://models/Company"}),
    ("resources/read", {"uri": "dataflow://models/Company/missing"}),
    ("resources/read", {"uri": "server://health"}),
    ("prompts/list", {}),
]


@dataclass(frozen=True)
class Start:
    """The lines that one start has sent, without what differs each time, and what it imported."""

    lines: list[str]
    imported: set[str]
    errors: str

    @property
    def was_instant(self) -> bool:
        return not self.imported & HEAVY


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own; the folder of the manifests in it."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kailash-mcp-prod"


def without_figures(lines: list[str]) -> list[str]:
    """The lines without what the health says of the process and its machine at that moment."""
    return [re.sub(r'(_m[bs]\\":)[\d.]+', r"\1…", line) for line in lines]


def start(
    workdir: Path,
    *flags: str,
    calls: list[tuple[str, dict[str, Any]]] | None = None,
    asked: list[tuple[str, dict[str, Any]]] | None = None,
    settings: dict[str, str] | None = None,
) -> Start:
    given = {"MCP_CURSOR_SECRET": SECRET, **(settings or {})}
    with running(workdir, *flags, settings=given, program=PROGRAM) as process:
        client = Stdio(process)
        client.initialize()
        client.request("tools/list")
        for name, arguments in [("Company_list", {"limit": 1})] if calls is None else calls:
            client.request("tools/call", name=name, arguments=arguments)
        for method, params in asked or []:
            client.request(method, **params)
        process.close_input()
        assert process.process.wait(20) == 0
        output, errors = process.output.finish(), process.errors.finish()
    output = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+(Z|\+00:00)", "TIME", output)
    output = re.sub(r"[0-9a-f]{32}", "HEX", output)
    imported = set(re.findall(r"^import time:.*\| +(\w+)$", errors, re.MULTILINE))
    said = "\n".join(each for each in errors.splitlines() if not each.startswith("import time"))
    return Start(output.splitlines(), imported, said)


@pytest.fixture
def application(tmp_path: Path) -> Path:
    """An application of the test's own: a folder with `shop.py` and what it imports."""
    folder = tmp_path / "application"
    folder.mkdir()
    (folder / "parts.py").write_text("LABEL = 'A label.'\n")
    (folder / "shop.py").write_text(
        "import os\n"
        "from dataflow import DataFlow\n"
        "from parts import LABEL\n"
        "db = DataFlow(os.environ['DATABASE_URL'], pool_size=20, enable_caching=False,\n"
        "              enable_model_persistence=False)\n"
        "class Company:\n"
        "    id: str\n"
        "    name: str = ''\n"
        "Company.__doc__ = LABEL\n"
        "db.model(Company)\n"
    )
    return folder


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("cache")
def test_the_second_start_serves_the_same_without_dataflow(
    database_url: str, tmp_path: Path
) -> None:
    flags = [*STDIO, "--list-output-schemas", "--operations", ",".join(OPERATIONS)]
    settings = {"DATABASE_URL": database_url}

    first = start(tmp_path, *flags, calls=CALLS, asked=ASKED, settings=settings)
    second = start(tmp_path, *flags, calls=CALLS, asked=ASKED, settings=settings)

    assert "dataflow" in first.imported
    assert second.imported & HEAVY == set()
    assert without_figures(second.lines) == without_figures(first.lines)
    assert len(second.lines) == 2 + len(CALLS) + len(ASKED)


@pytest.mark.usefixtures("cache")
def test_a_changed_source_or_table_is_noticed(application: Path, tmp_path: Path) -> None:
    database = tmp_path / "shop.db"
    flags = [*STDIO, "--models", "shop:db"]
    settings = {"DATABASE_URL": f"sqlite:///{database}"}
    assert not start(application, *flags, settings=settings).was_instant

    (application / "parts.py").write_text("LABEL = 'Another label.'\n")
    changed = start(application, *flags, settings=settings)
    assert not changed.was_instant
    assert "Another label." in changed.lines[1]
    assert start(application, *flags, settings=settings).was_instant

    with closing(sqlite3.connect(database)) as connection:
        connection.execute("ALTER TABLE companies ADD COLUMN extra TEXT")
    assert not start(application, *flags, settings=settings).was_instant


@pytest.mark.usefixtures("cache")
def test_credentials_are_asked_for_in_the_same_way(application: Path, tmp_path: Path) -> None:
    flags = ["--transport", "stdio", "--models", "shop:db"]
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}",
        "API_KEYS": f'{{"{KEY}": {{"permissions": ["Company:read"]}}}}',
        "MCP_API_KEY": KEY,
    }
    first = start(application, *flags, settings=settings)
    second = start(application, *flags, settings=settings)

    assert second.was_instant
    assert second.lines == first.lines
    with running(
        application, *flags, settings={**settings, "MCP_API_KEY": "wrong"}, program=PROGRAM
    ) as process:
        assert process.process.wait(20) != 0
        assert "MCP_API_KEY" in process.errors.finish()
        assert process.output.finish() == ""


@pytest.mark.timeout(120)
@pytest.mark.usefixtures("cache")
def test_rules_hold_and_keys_count_though_the_manifest_knows_none(
    application: Path, tmp_path: Path
) -> None:
    """It is of a start without rules; the callers under them get tools that no file has."""
    flags = [*STDIO, "--models", "shop:db"]
    rule = {"rows": {"name": {"$like": "our%"}}, "hide": ["created_at"]}
    ruled = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}",
        "MCP_ACCESS_RULES": json.dumps({"Company": rule}),
    }
    create = ("Company_create", {"data": {"id": "c1", "name": "our own"}, "_idempotency_key": "k"})
    calls = [
        create,
        create,
        ("Company_create", {"data": {"name": "theirs"}}),
        ("Company_list", {"sort": ["created_at"]}),
        ("Company_list", {}),
    ]
    start(application, *flags, settings={"DATABASE_URL": ruled["DATABASE_URL"]})
    instant = start(application, *flags, calls=calls, settings=ruled)

    assert instant.was_instant
    made, repeated, *refused, listed = instant.lines[2:]
    assert '"isError":false' in made
    assert repeated == made.replace('"id":3', '"id":4', 1)
    assert all('"isError":true' in each for each in refused)
    assert "our own" in listed
    assert "created_at" not in "".join([made, repeated, listed])
    # Where other replicas cache, they have to hear of writes, which takes the application.
    shared = {**ruled, "MCP_ENABLE_CACHING": "true", "REDIS_URL": "redis://127.0.0.1:1/0"}
    assert not start(application, *flags, settings=shared).was_instant


def test_a_manifest_holds_no_secrets_and_is_for_its_user_alone(
    application: Path, tmp_path: Path, cache: Path
) -> None:
    flags = ["--transport", "stdio", "--models", "shop:db"]
    settings = {
        "DATABASE_URL": f"sqlite:///{tmp_path / 'shop.db'}",
        "API_KEYS": f'{{"{KEY}": {{"permissions": ["*"]}}}}',
        "MCP_API_KEY": KEY,
    }
    start(application, *flags, settings=settings)

    [file] = cache.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert cache.stat().st_mode & 0o777 == 0o700
    text = file.read_text()
    assert KEY not in text
    assert SECRET not in text
    file.write_text(text[: len(text) // 2])

    again = start(application, *flags, settings=settings)

    assert not again.was_instant
    assert "is ignored" in again.errors
    assert file.stat().st_size == len(text.encode())

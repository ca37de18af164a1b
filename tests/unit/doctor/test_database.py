from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest

from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.doctor.database import check_database
from kailash_mcp_prod.doctor.finding import Finding, Status
from kailash_mcp_prod.doctor.patient import Patient


async def check(url: str | None, **settings: bool) -> list[Finding]:
    config = ServerConfig.model_construct(database_url=url, **settings)
    return await check_database(Patient(config, None, None, {}))


def test_a_file_of_sqlite_is_good_be_it_there_or_not(tmp_path: Path) -> None:
    # What means something in an address means nothing in the name of a folder.
    folder = tmp_path / "a#b%41"
    folder.mkdir()
    path = folder / "app.db"
    [missing] = asyncio.run(check(f"sqlite:///{path}"))
    assert not path.exists()
    path.touch()
    [empty] = asyncio.run(check(f"sqlite:///{path}"))

    assert (missing.status, empty.status) == (Status.OK, Status.OK)
    assert path.read_bytes() == b""
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sqlite:///{}/none/app.db", "there is no folder"),
        (f"sqlite:///{{}}/{'x' * 300}/app.db", "can't be opened: /"),
        ("sqlite:///{}/text.db", "can't be opened: file is not a database"),
        ("sqlite:///:memory:", "in memory is lost"),
        ("mysql://user:hunter2@host/db", "neither of SQLite nor of PostgreSQL"),
        ("hunter2", "neither of SQLite nor of PostgreSQL"),
        ("postgresql://user:hunter2@127.0.0.1:1/db", "can't be reached"),
        ("postgresql://user:hunter2@host:many/db", "can't be opened"),
    ],
)
async def test_what_is_no_database_is_said_without_its_address(
    name: str, said: str, tmp_path: Path
) -> None:
    (tmp_path / "text.db").write_text("not a database" * 100)

    [found] = await check(name.format(tmp_path))

    assert found.status is Status.FAILED
    assert said in found.message
    assert "hunter2" not in json.dumps(asdict(found))


async def test_without_an_address_the_models_choose() -> None:
    [found] = await check(None)

    assert found.status is Status.SKIPPED


async def test_postgresql_is_good_and_keeps_our_time(postgres_url: str) -> None:
    found = await check(postgres_url)

    assert [(each.check, each.status) for each in found] == [
        ("database", Status.OK),
        ("clock (database)", Status.OK),
    ]


async def test_a_user_who_may_make_no_tables_is_told(postgres_url: str) -> None:
    parts = urlsplit(postgres_url)
    owner = await asyncpg.connect(postgres_url)
    try:
        await owner.execute("DROP ROLE IF EXISTS doctor_reader")
        await owner.execute("CREATE ROLE doctor_reader LOGIN PASSWORD 'reader-hunter2'")
        await owner.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
        place = f"{parts.hostname}:{parts.port}{parts.path}"
        url = f"postgresql://doctor_reader:reader-hunter2@{place}"
        [migrating, _] = await check(url, auto_migrate=True)
        [checking, _] = await check(url, auto_migrate=False)
    finally:
        await owner.execute("DROP ROLE IF EXISTS doctor_reader")
        await owner.close()

    assert (migrating.status, checking.status) == (Status.FAILED, Status.WARNING)
    assert migrating.message == "The user of DATABASE_URL may make no tables."

"""One process at a time changes the tables of a database."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path

import pytest

from kailash_mcp_prod.errors import DatabaseStartupError
from kailash_mcp_prod.records import connecting, migration_lock
from kailash_mcp_prod.records.migration_lock import lock_file_of


async def test_only_one_at_a_time_holds_the_lock(database_url: str) -> None:
    holders = 0

    async def work() -> None:
        nonlocal holders
        async with migration_lock.migration_lock(database_url):
            holders += 1
            assert holders == 1
            await asyncio.sleep(0)
            holders -= 1

    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        for _ in range(4):
            tasks.create_task(work())


async def test_a_lock_that_is_held_for_long_stops_the_start(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connecting, "LOCK_SECONDS", 0.05)
    monkeypatch.setattr(migration_lock, "LOCK_SECONDS", 0.05)

    async with migration_lock.migration_lock(database_url):
        with pytest.raises(DatabaseStartupError, match="Another process has held"):
            async with migration_lock.migration_lock(database_url):
                pass


async def test_what_fails_under_the_lock_is_not_blamed_on_it(database_url: str) -> None:
    with pytest.raises(TimeoutError, match="of the work"):
        async with migration_lock.migration_lock(database_url):
            raise TimeoutError("of the work")

    async with migration_lock.migration_lock(database_url):
        pass


async def test_a_lock_file_that_can_not_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / ".app.db.lock").mkdir()

    with pytest.raises(DatabaseStartupError, match=r"migration lock .*\.app\.db\.lock can't be"):
        async with migration_lock.migration_lock(f"sqlite:///{tmp_path / 'app.db'}"):
            pass


def test_one_file_has_one_lock_by_whatever_path_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "link.db").symlink_to(tmp_path / "app.db")

    assert lock_file_of(tmp_path / "link.db") == tmp_path / ".app.db.lock"
    assert lock_file_of(tmp_path / "x" / ".." / "app.db") == tmp_path / ".app.db.lock"


def test_a_folder_that_takes_no_lock_leaves_it_to_the_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The user of the tests may be one to whom no folder is closed.
    monkeypatch.setattr(os, "access", lambda *_: False)

    first, second = (lock_file_of(tmp_path / name) for name in ("a.db", "b.db"))

    assert first.parent == second.parent == Path(tempfile.gettempdir())
    assert first != second

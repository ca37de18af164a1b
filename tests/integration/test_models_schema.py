from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from models import db

REPOSITORY = Path(__file__).resolve().parents[2]

# In a process of its own, because the package has one instance per process.
INITIALIZE = """
import asyncio

from models import db


async def main() -> bool:
    try:
        return await db.initialize()
    finally:
        await db.close_async()


assert asyncio.run(main()) is True
"""


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[sqlite3.Connection]:
    """Open a database in which the models were initialised from a relative URL."""
    directory = tmp_path_factory.mktemp("schema")
    environment = {
        **os.environ,
        "DATABASE_URL": "sqlite:///store/app.db",
        "PYTHONPATH": str(REPOSITORY),
    }
    done = subprocess.run(
        [sys.executable, "-c", INITIALIZE],
        cwd=directory,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(directory / "store" / "app.db")) as connection:
        yield connection


def table_of(model: str) -> str:
    table = db.get_model_info(model)["table_name"]
    assert isinstance(table, str)
    return table


@pytest.mark.parametrize("model", db.list_models())
def test_initialize_makes_a_table_with_the_declared_columns(
    model: str, database: sqlite3.Connection
) -> None:
    rows = database.execute(f"PRAGMA table_info({table_of(model)})").fetchall()
    columns = {name: bool(required) for _, name, _, required, _, _ in rows}
    fields = db.get_model_fields(model)

    assert list(columns) == [*fields, "created_at", "updated_at"]
    assert {name for name, required in columns.items() if required} == {
        name for name, field in fields.items() if field["required"] and name != "id"
    }
    assert [name for _, name, _, _, _, position in rows if position] == ["id"]


@pytest.mark.parametrize("model", db.list_models())
def test_initialize_makes_the_declared_indexes(model: str, database: sqlite3.Connection) -> None:
    made = {}
    for _, name, unique, origin, _ in database.execute(f"PRAGMA index_list({table_of(model)})"):
        if origin == "c":
            columns = database.execute(f"PRAGMA index_info({name})").fetchall()
            made[name] = ([column for _, _, column in columns], bool(unique))
    declared = {
        index["name"]: (index["fields"], index["unique"])
        for index in db.get_models()[model].__dataflow__["indexes"]
    }

    assert made == declared

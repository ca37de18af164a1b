from __future__ import annotations

import pytest

from kailash_mcp_prod.records.effects import reflect_effects
from tests.integration.records.plain_sql import run_sql

TABLES = (
    "CREATE TABLE a (id TEXT PRIMARY KEY)",
    "CREATE TABLE between_them (id TEXT PRIMARY KEY, a TEXT REFERENCES a (id) ON DELETE CASCADE)",
    "CREATE TABLE b (id TEXT PRIMARY KEY, c TEXT REFERENCES between_them (id) ON DELETE SET NULL)",
    "CREATE TABLE c (id TEXT PRIMARY KEY, a TEXT REFERENCES a (id))",
    "CREATE VIEW v AS SELECT id FROM a",
)
TRIGGERS = {
    "sqlite": ("CREATE TRIGGER t AFTER UPDATE ON c BEGIN DELETE FROM b; END",),
    "postgresql": (
        "CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'",
        "CREATE TRIGGER t AFTER UPDATE ON c EXECUTE FUNCTION f()",
    ),
}
NAMES = ["a", "b", "c", "v", "nowhere"]


@pytest.fixture
def url(database_url: str) -> str:
    run_sql(database_url, *TABLES)
    return database_url


async def test_cascades_are_followed_through_tables_that_are_no_models(url: str) -> None:
    effects = await reflect_effects(url, NAMES)

    assert {name: effects.affected[name] for name in "abc"} == {
        "a": {"a", "b"},
        "b": {"b"},
        "c": {"c"},
    }


async def test_a_view_shows_rows_of_others(url: str) -> None:
    assert (await reflect_effects(url, NAMES)).derived == {"v"}


async def test_a_table_with_triggers_may_change_everything(url: str) -> None:
    run_sql(url, *TRIGGERS[url.partition(":")[0]])

    assert (await reflect_effects(url, NAMES)).affected["c"] == set(NAMES)

"""The manifest of an application in this process: written by one start, read by another."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import InvalidArgumentsError
from kailash_mcp_prod.tools.application import DataFlowApplication
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall

SHOP = '''
import os
from dataflow import DataFlow

db = DataFlow(
    os.environ["DATABASE_URL"],
    pool_size=20,
    enable_caching=False,
    enable_model_persistence=False,
)


@db.model
class Shelf:
    """A shelf."""

    id: str
    label: str = "new"
    email: str | None = None
    __validation__ = {"email": {"validators": ["email"]}}
'''
UNSTORABLE = {
    "a default that is a function": "db.model(type('Odd', (), {'__annotations__': {'id': str, "
    "'made': str}, 'made': staticmethod(lambda: 'x').__func__}))",
    "a validator that is a function": "db.model(type('Odd', (), {'__annotations__': {'id': str, "
    "'text': str}, '__validation__': {'text': {'custom': lambda value: True}}}))",
    "an option that needs the nodes": "db.model(type('Odd', (), {'__annotations__': {'id': str}, "
    "'__dataflow__': {'retention': {'days': 30}}}))",
}


class Shop:
    """An application in a folder of its own, which is forgotten between its starts."""

    def __init__(self, folder: Path, cache: Path) -> None:
        self.folder = folder
        self.cache = cache

    def write(self, name: str, text: str) -> None:
        (self.folder / "shop").mkdir(exist_ok=True)
        (self.folder / "shop" / name).write_text(text)

    @property
    def manifests(self) -> list[Path]:
        return sorted(self.cache.glob("*.json"))

    @asynccontextmanager
    async def started(
        self, *, discovery: type[DataFlowToolDiscovery] | None = None, **settings: Any
    ) -> AsyncIterator[tuple[DataFlowApplication, ToolRegistry]]:
        forget()
        registry = ToolRegistry()
        given = {"transport": "stdio", "models": "shop:db", "enable_auth": False, **settings}
        application = DataFlowApplication(
            ServerConfig(**given), registry, Policy(), dataflow=None, discovery=discovery
        )
        try:
            await application.start()
            yield application, registry
        finally:
            await application.stop()

    async def is_instant(self, **settings: Any) -> bool:
        async with self.started(**settings):
            return "shop" not in sys.modules


def forget() -> None:
    for name in list(sys.modules):
        if name.partition(".")[0] == "shop":
            del sys.modules[name]


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str) -> Iterator[Shop]:
    folder = tmp_path / "application"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    monkeypatch.setenv("DATABASE_URL", sqlite_url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shop = Shop(folder, tmp_path / "cache" / "kailash-mcp-prod")
    shop.write("__init__.py", SHOP)
    yield shop
    forget()


async def call(registry: ToolRegistry, name: str, **arguments: Any) -> Any:
    tool = registry.get(name)
    assert tool is not None, name
    return await tool.handler(ToolCall(ANONYMOUS, arguments, "r1"))


async def test_any_start_writes_and_only_one_over_stdio_reads(shop: Shop) -> None:
    async with shop.started(transport="http") as (_, registry):
        imported = [replace(each, handler=call) for each in registry]
    assert len(shop.manifests) == 1

    async with shop.started() as (application, registry):
        assert "shop" not in sys.modules
        served = [replace(each, handler=call) for each in registry]
        stored = await call(registry, "Shelf_create", data={"email": "a@b.example"})
        assert stored["label"] == "new"
        with pytest.raises(InvalidArgumentsError, match=r"data\.email"):
            await call(registry, "Shelf_create", data={"email": "none"})
        assert await application.answers()
    assert served == imported
    for complete in (False, True):
        one, other = (
            msgspec.json.encode([tool.to_mcp(complete=complete) for tool in tools])
            for tools in (served, imported)
        )
        assert one == other
    assert not await shop.is_instant(transport="http")


async def test_what_the_content_depends_on_is_part_of_its_identity(
    shop: Shop, tmp_path: Path
) -> None:
    assert not await shop.is_instant()
    assert await shop.is_instant()

    assert not await shop.is_instant(operations=("read", "list"))
    assert not await shop.is_instant(auto_migrate=False)
    assert not await shop.is_instant(mode="development")
    assert not await shop.is_instant(execution="sql")
    assert await shop.is_instant()
    assert await shop.is_instant(request_timeout_seconds=5)
    assert len(shop.manifests) == 5


async def test_it_can_be_turned_off(shop: Shop) -> None:
    assert not await shop.is_instant(instant_start=False)
    assert shop.manifests == []


async def test_a_new_module_beside_the_others_is_noticed(shop: Shop) -> None:
    assert not await shop.is_instant()
    shop.write("extra.py", "")

    assert not await shop.is_instant()
    assert await shop.is_instant()


async def test_a_variable_that_the_sources_name_is_noticed(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop.write("__init__.py", f"{SHOP}\nEDITION = os.environ.get('SHOP_EDITION')\n")
    assert not await shop.is_instant()
    assert await shop.is_instant()

    monkeypatch.setenv("SHOP_EDITION", "large")
    assert not await shop.is_instant()
    assert await shop.is_instant()
    monkeypatch.setenv(f"SHOP_{'OTHER'}", "1")
    assert await shop.is_instant()


@pytest.mark.parametrize("what", UNSTORABLE)
async def test_what_cannot_be_written_down_is_imported_each_time(shop: Shop, what: str) -> None:
    shop.write("__init__.py", f"{SHOP}\n{UNSTORABLE[what]}\n")

    assert not await shop.is_instant()
    assert shop.manifests == []


async def test_own_discovery_is_imported_each_time(shop: Shop) -> None:
    class Mine(DataFlowToolDiscovery):
        pass

    assert not await shop.is_instant(discovery=Mine)
    assert shop.manifests == []


async def test_an_application_that_grows_is_imported_the_next_time(shop: Shop) -> None:
    assert not await shop.is_instant()
    async with shop.started() as (application, registry):
        assert "shop" not in sys.modules
        made = type("Basket", (), {"__annotations__": {"id": str}, "__doc__": "A basket."})
        await application.register(made)
        assert "shop" in sys.modules
        await call(registry, "Basket_create", data={"id": "b"})
        await call(registry, "Shelf_create", data={"id": "s"})

    assert shop.manifests == []


async def test_an_emptied_table_gets_its_sample_rows_again(shop: Shop, sqlite_url: str) -> None:
    shop.write("sample_data.py", "SAMPLE_ROWS = {'Shelf': [{'id': 's', 'label': 'first'}]}\n")
    assert not await shop.is_instant(mode="development")
    assert await shop.is_instant(mode="development")
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as database:
        database.execute("DELETE FROM shelves")
        database.commit()

    assert not await shop.is_instant(mode="development")
    async with shop.started(mode="development") as (_, registry):
        assert "shop" not in sys.modules
        assert (await call(registry, "Shelf_read", id="s"))["label"] == "first"


@pytest.mark.parametrize("damage", ["default", "identity", "format", "unknown", "table"])
async def test_a_manifest_that_says_something_else_is_not_believed(shop: Shop, damage: str) -> None:
    assert not await shop.is_instant()
    [file] = shop.manifests
    content = json.loads(file.read_text())
    served = content["models"][0]
    match damage:
        case "default":
            served["model"]["fields"][1] |= {
                "default": "soon",
                "type": {**served["model"]["fields"][1]["type"], "kind": "decimal"},
            }
        case "identity":
            content["identity"] = "0" * 32
        case "format":
            content["format"] = 1
        case "unknown":
            content["code"] = "print()"
        case "table":
            served["table"]["columns"]["label"]["type"] = "integer"
    file.write_text(json.dumps(content))

    assert not await shop.is_instant()
    assert await shop.is_instant()


async def test_calls_at_the_same_time_make_what_they_need_once(shop: Shop) -> None:
    assert not await shop.is_instant()
    async with shop.started() as (_, registry):
        made = await asyncio.gather(
            *(call(registry, "Shelf_create", data={"id": f"s{n}"}) for n in range(20)),
            *(call(registry, "Shelf_list", limit=1) for _ in range(20)),
        )
        assert len(made) == 40
        assert len((await call(registry, "Shelf_list"))["records"]) == 20

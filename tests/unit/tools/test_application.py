from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from dataflow import DataFlow

from kailash_mcp_prod.auth.policy import Policy
from kailash_mcp_prod.auth.principal import ANONYMOUS
from kailash_mcp_prod.config import ServerConfig
from kailash_mcp_prod.errors import DatabaseStartupError, ModelError, StartupError
from kailash_mcp_prod.records.model import Model
from kailash_mcp_prod.tools.application import DataFlowApplication
from kailash_mcp_prod.tools.discovery import DataFlowToolDiscovery
from kailash_mcp_prod.tools.models_info import NAME as MODELS_INFO
from kailash_mcp_prod.tools.registry import ToolRegistry
from kailash_mcp_prod.tools.spec import ToolCall, ToolSpec

SHOP = """
import os
from dataflow import DataFlow

db = DataFlow(os.environ["DATABASE_URL"], enable_caching=False, enable_model_persistence=False)


@db.model
class Shelf:
    \"\"\"A shelf.\"\"\"

    id: str
    label: str


@db.model
class Basket:
    \"\"\"A basket.\"\"\"

    id: str
    items: int = 0
"""


def model_class(name: str, /, **fields: Any) -> type:
    return type(name, (), {"__annotations__": {"id": str, **fields}, "__doc__": f"A {name}."})


@pytest.fixture
def db(sqlite_url: str) -> Any:
    """A DataFlow instance with the model Item."""
    db = DataFlow(sqlite_url, enable_caching=False, enable_model_persistence=False)
    db.model(model_class("Item", label=str))
    return db


@pytest.fixture
def shop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sqlite_url: str
) -> Iterator[Callable[[str], ServerConfig]]:
    """Writes an application with sample rows; the configuration to serve it in development."""
    before = set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("DATABASE_URL", sqlite_url)

    def write(rows: str) -> ServerConfig:
        (tmp_path / "shop").mkdir()
        (tmp_path / "shop" / "__init__.py").write_text(SHOP)
        (tmp_path / "shop" / "sample_data.py").write_text(f"SAMPLE_ROWS = {rows}\n")
        return ServerConfig(mode="development", models="shop:db")

    yield write
    for name in set(sys.modules) - before:
        if name.partition(".")[0] == "shop":
            del sys.modules[name]


@asynccontextmanager
async def running(
    db: Any = None,
    config: ServerConfig | None = None,
    discovery: type[DataFlowToolDiscovery] = DataFlowToolDiscovery,
) -> AsyncIterator[tuple[DataFlowApplication, ToolRegistry]]:
    registry = ToolRegistry()
    application = DataFlowApplication(
        config or ServerConfig(enable_auth=False),
        registry,
        Policy(),
        dataflow=db,
        discovery=discovery,
    )
    try:
        await application.start()
        yield application, registry
    finally:
        await application.stop()


async def call(registry: ToolRegistry, name: str, **arguments: Any) -> Any:
    tool = registry.get(name)
    assert tool is not None, name
    return await tool.handler(ToolCall(ANONYMOUS, arguments, "r1"))


def models(registry: ToolRegistry) -> list[str]:
    return list(dict.fromkeys(tool.group for tool in registry if tool.name != MODELS_INFO))


async def test_starting_makes_tables_and_tools(db: Any) -> None:
    async with running(db) as (application, registry):
        stored = await call(registry, "Item_create", data={"label": "a"})

        assert (await call(registry, "Item_read", id=stored["id"]))["label"] == "a"
        assert [tool.name for tool in registry][9:] == [MODELS_INFO]
        assert len(registry) == 10
        assert await application.answers()
        usage = application.pool_usage()
        assert usage is not None
        assert (usage.in_use, usage.waiting) == (0, 0)


async def test_the_database_of_a_stopped_application_is_not_healthy(db: Any) -> None:
    async with running(db) as (application, _):
        pass

    assert not await application.answers()
    assert application.pool_usage() is None
    await application.stop()


async def test_no_task_is_left_after_stopping(db: Any) -> None:
    before = asyncio.all_tasks()
    async with running(db):
        assert "model-watcher" in {task.get_name() for task in asyncio.all_tasks()}

    assert not {task.get_name() for task in asyncio.all_tasks() - before} & {"model-watcher"}


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.write_text("no database" * 99)])
async def test_what_is_no_database_stops_the_start(
    tmp_path: Path, make: Callable[[Path], object]
) -> None:
    make(tmp_path / "app.db")
    url = f"sqlite:///{tmp_path / 'app.db'}"
    db = DataFlow(url, enable_caching=False, enable_model_persistence=False)
    db.model(model_class("Item", label=str))

    with pytest.raises(DatabaseStartupError, match="SQLite database can't be opened"):
        async with running(db):
            pass


async def test_a_model_that_can_not_be_served_stops_the_start_by_name(sqlite_url: str) -> None:
    db = DataFlow(sqlite_url, enable_caching=False, enable_model_persistence=False)
    db.model(model_class("Item", label=str))
    db.model(model_class("Odd", things=set))

    with pytest.raises(ModelError, match="Model Odd, field things"):
        async with running(db):
            pass


async def test_only_a_running_application_takes_models(db: Any) -> None:
    application = DataFlowApplication(
        ServerConfig(enable_auth=False),
        ToolRegistry(),
        Policy(),
        dataflow=db,
        discovery=DataFlowToolDiscovery,
    )

    with pytest.raises(StartupError, match="Start the server"):
        await application.register(model_class("Late", n=int))


async def test_a_registered_model_is_served_at_once(db: Any) -> None:
    late = model_class("Late", n=int)
    async with running(db) as (application, registry):
        await application.register(late)
        assert (await call(registry, "Late_create", data={"n": 1}))["n"] == 1

        await application.register(late)
        assert models(registry) == ["Item", "Late"]


async def test_a_model_that_can_not_be_served_is_refused_by_name_and_others_stay(db: Any) -> None:
    async with running(db) as (application, registry):
        with pytest.raises(ModelError, match="Model Odd, field things"):
            await application.register(model_class("Odd", things=set))
        with pytest.raises(ModelError, match="Model Item: another model has this name"):
            await application.register(model_class("Item", other=int))

        assert models(registry) == ["Item"]
        await call(registry, "Item_create", data={"label": "a"})


async def test_a_model_that_dataflow_itself_refuses_is_refused_by_name(db: Any) -> None:
    async with running(db) as (application, registry):
        with pytest.raises(ModelError, match="Model bad-name"):
            await application.register(model_class("bad-name", n=int))
        assert models(registry) == ["Item"]


class Careful(DataFlowToolDiscovery):
    """Fails for one model, as a subclass with a defect might."""

    def tools_of(self, model: Model) -> list[ToolSpec]:
        if model.name == "Cursed":
            raise LookupError("no tools for this one")
        return super().tools_of(model)


async def test_models_are_noticed_even_after_one_that_breaks(db: Any) -> None:
    async with running(db, discovery=Careful) as (_, registry):
        changed = asyncio.Event()
        registry.subscribe(changed.set)
        db.model(model_class("Odd", things=set))
        db.model(model_class("Cursed", n=int))
        db.model(model_class("Late", n=int))
        async with asyncio.timeout(10):
            await changed.wait()

        assert models(registry) == ["Item", "Late"]


async def test_development_fills_empty_tables_with_sample_rows(
    shop: Callable[[str], ServerConfig],
) -> None:
    config = shop("{'Shelf': [{'id': 's1', 'label': 'top'}], 'Basket': [], 'Other': [{'x': 1}]}")
    async with running(config=config) as (application, registry):
        assert (await call(registry, "Shelf_read", id="s1"))["label"] == "top"
        await call(registry, "Shelf_update", id="s1", data={"label": "changed"})
        await application.stop()

        await application.start()

        assert (await call(registry, "Shelf_list"))["records"][0]["label"] == "changed"


async def test_sample_rows_that_break_the_rules_stop_the_start(
    shop: Callable[[str], ServerConfig],
) -> None:
    with pytest.raises(DatabaseStartupError, match="sample rows of Shelf can't be stored"):
        async with running(config=shop("{'Shelf': [{'label': 7}]}")):
            pass


async def test_an_instance_that_was_handed_over_gets_no_rows_of_another_application(
    db: Any, shop: Callable[[str], ServerConfig]
) -> None:
    config = shop("{'Item': [{'label': 'of another application'}]}")
    async with running(db, config) as (_, registry):
        assert (await call(registry, "Item_list"))["records"] == []
        assert "shop" not in sys.modules

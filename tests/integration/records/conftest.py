"""One application per kind of database and store for the whole session, emptied for each test.

They are fixtures of their own and not parameters of one, which pytest would stop and start again
whenever it turns to another parameter: several times in each module.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.integration.records.trap_app import TrapApp, running_trap_app
from tests.postgres import PostgresServer


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sql_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TrapApp]:
    url = f"sqlite:///{tmp_path_factory.mktemp('traps') / 'trap.db'}"
    async with running_trap_app(url, "sql") as app:
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nodes_on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TrapApp]:
    url = f"sqlite:///{tmp_path_factory.mktemp('traps') / 'trap.db'}"
    async with running_trap_app(url, "nodes") as app:
        yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sql_on_postgresql(postgres_server: PostgresServer) -> AsyncIterator[TrapApp]:
    with postgres_server.database() as url:
        async with running_trap_app(url, "sql") as app:
            yield app


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def nodes_on_postgresql(postgres_server: PostgresServer) -> AsyncIterator[TrapApp]:
    with postgres_server.database() as url:
        async with running_trap_app(url, "nodes") as app:
            yield app


@pytest.fixture(params=["sqlite", "postgresql"])
def trap_dialect(request: pytest.FixtureRequest) -> str:
    """The kind of database that the test runs on."""
    name: str = request.param
    return name


@pytest.fixture(params=["sql", "nodes"])
def app(request: pytest.FixtureRequest, trap_dialect: str) -> TrapApp:
    """The trap application with empty tables."""
    app: TrapApp = request.getfixturevalue(f"{request.param}_on_{trap_dialect}")
    app.tables.clear()
    return app

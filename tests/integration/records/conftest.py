"""One application per kind of database for the whole session, its tables emptied for each test."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from tests.integration.records.trap_app import TrapApp, running_trap_app


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def trap_url(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('traps') / 'trap.db'}"
        return
    with request.getfixturevalue("postgres_server").database() as url:
        yield url


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["sql", "nodes"])
async def shared_app(request: pytest.FixtureRequest, trap_url: str) -> AsyncIterator[TrapApp]:
    async with running_trap_app(trap_url, request.param) as app:
        yield app


@pytest.fixture
def app(shared_app: TrapApp) -> TrapApp:
    """The trap application with empty tables."""
    shared_app.tables.clear()
    return shared_app

"""Fixtures every test may ask for: real databases, and environments of the official MCP SDKs."""

from __future__ import annotations

import functools
import gc
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import httpx2
import pytest
from hypothesis import settings

from tests.interop import peers
from tests.postgres import PostgresServer, running_postgres
from tests.redis_server import RedisServer, running_redis
from tests.secret_watch import WATCH, watching

# How long an example takes depends on what else the machine does; each test has a time-out.
settings.register_profile("suite", deadline=None)
settings.load_profile("suite")


def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: a third of the time, tests wait for other processes."""
    return (os.cpu_count() or 1) + 1


def pytest_collection_finish() -> None:
    """Keeps the collector of garbage from looking through ten thousand tests again and again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _secrets_are_watched() -> Iterator[None]:
    with watching():
        yield


@pytest.fixture(autouse=True)
def _no_secret_is_logged() -> Iterator[None]:
    """Every test looks at what was logged while it ran."""
    yield
    WATCH.check()


@pytest.fixture(scope="session", autouse=True)
def _authorities_are_read_once() -> Iterator[None]:
    """Each client of HTTP reads all certificate authorities anew, for which few tests ask.

    It takes longer than many a test; what is set apart from the defaults is made as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        for library in (httpx, httpx2):
            make = functools.cache(library.create_ssl_context)
            patch.setattr(f"{library.__name__}._transports.default.create_ssl_context", make)
        yield


@pytest.fixture(scope="session", autouse=True)
def _cache_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keeps the manifests that servers write out of the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """A PostgreSQL server, started when the first test asks for it."""
    with running_postgres() as server:
        yield server


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of an empty PostgreSQL database of the test's own."""
    with postgres_server.database() as url:
        yield url


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite database of the test's own, whose file does not exist yet."""
    return f"sqlite:////{(tmp_path / 'test.db').as_posix().lstrip('/')}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """An empty database of the test's own: the test runs once for each kind of database."""
    name = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}[request.param]
    url: str = request.getfixturevalue(name)
    return url


@pytest.fixture
def redis_server() -> Iterator[RedisServer]:
    """An empty Redis server of the test's own; it is up in a few hundredths of a second."""
    with running_redis() as server:
        yield server


@pytest.fixture(scope="session")
def peer_python() -> Callable[[str], Path]:
    """The Python interpreter of a peer's environment, by the peer's name: `sdk1` or `sdk2`."""
    return peers.peer_python
